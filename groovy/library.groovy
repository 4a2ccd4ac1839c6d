// Code shared by the CellGenNet scripts. `cellgennet groovy install` copies it next to the settings file, into the
// folder .cellgennet of your home folder, where the scripts load it. There is nothing to edit here.
//
// Last tested on QuPath 0.5.1 and 0.7.0.

import com.google.gson.JsonObject
import java.nio.file.Files
import java.nio.file.Path
import java.nio.file.StandardCopyOption
import java.util.zip.GZIPInputStream
import qupath.lib.images.ImageData
import qupath.lib.io.GsonTools
import qupath.lib.io.PathIO
import qupath.lib.objects.PathObject
import qupath.lib.plugins.workflow.DefaultScriptableWorkflowStep
import qupath.lib.projects.ProjectImageEntry
import qupath.lib.scripting.QP

class CellGenNet {

    private final Script script
    private final String python
    final Path project

    /** home: the folder of the settings file; script: the running script. */
    CellGenNet(File home, Script script) {
        this.script = script
        def settings = new Properties()
        def file = new File(home, "qupath.properties")
        if (file.isFile())
            file.withReader("UTF-8") { settings.load(it) }
        this.python = settings.getProperty("python")
        if (!python)
            throw new IllegalStateException("CellGenNet: no Python is set in ${file}. Run 'cellgennet groovy install' in a terminal.")
        if (QP.getProject() == null)
            throw new IllegalStateException("CellGenNet: open a project first.")
        this.project = QP.getProject().getPath().getParent()
    }

    /** The value of an option: from the command line as name=value (QuPath script --args), else from the script. */
    def option(String name, Object value) {
        def given = script.binding.hasVariable("args") ? script.binding.getVariable("args") : null
        def found = given?.find { it.startsWith(name + "=") }
        if (found == null)
            return value
        def text = found.substring(name.length() + 1)
        return value instanceof List ? (text ? text.split(" ") as List : []) : value instanceof Boolean ? text.toBoolean() : text
    }

    /** Index of this image in "Run for project", from 0; 0 in a plain run. */
    int getBatchIndex() { number("qupath.script.batchIndex", 0) }

    /** Number of images in "Run for project"; 1 in a plain run. */
    int getBatchSize() { number("qupath.script.batchSize", 1) }

    private int number(String name, int otherwise) {
        def value = script.binding.hasVariable(name) ? script.binding.getVariable(name) : null
        return value instanceof Number && value >= 0 ? value as int : otherwise
    }

    void say(String line) {
        script.println("CellGenNet: " + line)
    }

    /**
     * Run the command line tool and wait for it. Its messages go to QuPath's log line by line; its standard
     * output is returned. Stopping the script stops the tool; the next run resumes.
     */
    String run(List<String> arguments) {
        // A list of arguments, not one string, so that spaces and umlauts in paths need no quoting.
        def command = [python, "-X", "utf8", "-m", "cellgennet_qupath"] + arguments.collect { it.toString() }
        Process process = null
        // Registered before the start, because QuPath may be closed at any moment.
        def end = new Thread({ process?.destroy() })
        Runtime.getRuntime().addShutdownHook(end)
        try {
            process = new ProcessBuilder(command).start()
        } catch (IOException e) {
            Runtime.getRuntime().removeShutdownHook(end)
            // No cause is attached: QuPath would show it instead of this message.
            throw new IllegalStateException("CellGenNet: cannot start ${python} (${e.getMessage()}). Run 'cellgennet groovy install' again.")
        }
        def error = ""
        def result = new StringBuilder()
        def told = Thread.start {
            process.getErrorStream().withReader("UTF-8") { reader ->
                reader.eachLine { line ->
                    script.println(line)
                    if (line.startsWith("Error"))
                        error = line
                }
            }
        }
        def printed = Thread.start { result << process.getInputStream().getText("UTF-8") }
        try {
            int code = process.waitFor()
            told.join()
            printed.join()
            if (code == 3)
                say("some images failed (see above); all others are done.")
            else if (code != 0)
                throw new IllegalStateException("CellGenNet: " + (error ?: "the tool ended with exit code ${code}; see the lines above"))
            return result.toString()
        } catch (InterruptedException e) {
            process.destroy()
            process.waitFor()
            throw new IllegalStateException("CellGenNet: stopped. To continue, run the script again.")
        } finally {
            Runtime.getRuntime().removeShutdownHook(end)
        }
    }

    /** Segment images of the project (all of them if no names are given) and return the ids of those that are done. */
    Set<String> segment(List<String> images, String model, String within, List<String> more) {
        def arguments = ["segment", project, "--backend", "files", "--json"]
        images.each { arguments += ["--image", it] }
        if (model)
            arguments += ["-m", model]
        if (within)
            arguments += ["--within", within]
        def told = GsonTools.getInstance().fromJson(run(arguments + more), JsonObject)
        def done = [] as Set
        told.get("images").each { image ->
            def name = image.get("name").getAsString()
            if (image.get("status").getAsString() == "done")
                done << image.get("id").getAsString()
            say(name + ": " + (image.get("status").getAsString() == "done" ? image.get("detections").getAsString() + " nuclei. " : "")
                + image.get("reason").getAsString())
        }
        return done
    }

    /** The file from which the tool reads an image's annotations if it is newer than QuPath's own data. */
    Path annotationsFile(ProjectImageEntry entry) {
        return project.resolve("cellgennet").resolve("annotations").resolve(entry.getID() + ".geojson")
    }

    /** Write the current annotations of an image, saved or not; returns their number. */
    int writeAnnotations(ProjectImageEntry entry, ImageData data) {
        def file = annotationsFile(entry)
        Files.createDirectories(file.getParent())
        def part = Files.createTempFile(file.getParent(), "annotations", ".geojson")
        def annotations = data.getHierarchy().getAnnotationObjects()
        QP.exportObjectsToGeoJson(annotations, part.toString(), "FEATURE_COLLECTION")
        Files.move(part, file, StandardCopyOption.REPLACE_EXISTING)
        return annotations.size()
    }

    /** Run an action during which the tool reads the current annotations of the open image, saved or not. */
    def withOpenAnnotations(Closure action) {
        def entry = QP.getProjectEntry()
        def data = QP.getCurrentImageData()
        if (entry == null || data == null || !data.isChanged())
            return action()
        def file = annotationsFile(entry)
        def earlier = Files.exists(file) ? Files.readAllBytes(file) : null
        def time = earlier == null ? null : Files.getLastModifiedTime(file)
        writeAnnotations(entry, data)
        try {
            return action()
        } finally {
            if (earlier == null) {
                Files.deleteIfExists(file)
            } else {
                Files.write(file, earlier)
                Files.setLastModifiedTime(file, time)
            }
        }
    }

    /** The file to which the tool writes the nuclei of an image. */
    Path detectionsFile(ProjectImageEntry entry) {
        return project.resolve("cellgennet").resolve("detections").resolve(entry.getID() + ".geojson.gz")
    }

    /**
     * Import the nuclei of an image into its object hierarchy; returns their number.
     *
     * existing  "replace-own", "replace-all" or "keep"; "" for the choice made for the segmentation.
     */
    int bringIn(ProjectImageEntry entry, ImageData data, String existing) {
        def file = detectionsFile(entry)
        def found = PathIO.readObjects(file)
        def head = new JsonObject()
        Map<String, String> parents = [:]
        new GZIPInputStream(Files.newInputStream(file)).withReader("UTF-8") { reader ->
            head = GsonTools.getInstance().fromJson(reader.readLine() + "]}", JsonObject).getAsJsonObject("cellgennet")
            reader.eachLine { line ->
                def told = line =~ /^\{"type":"Feature","id":"([^"]+)","parent":"([^"]+)"/
                if (told.find())
                    parents[told.group(1)] = told.group(2)
            }
        }
        existing = existing ?: head.get("existing").getAsString()
        def hierarchy = data.getHierarchy()
        def there = hierarchy.getDetectionObjects()
        if (existing == "keep") {
            def ids = there.collect { it.getID() } as Set
            found = found.findAll { !ids.contains(it.getID()) }
        } else {
            def gone = there.findAll { existing == "replace-all" || isOwn(it) }
            def others = gone.count { !isOwn(it) }
            // Child objects of a removed nucleus are kept, one level up.
            hierarchy.removeObjects(gone, true)
            if (others)
                say(others + " detections of other tools removed from " + entry.getImageName() + " (replace-all).")
        }
        def annotations = hierarchy.getAnnotationObjects().collectEntries { [it.getID().toString(), it] }
        def families = found.groupBy { annotations[parents[it.getID().toString()]] ?: hierarchy.getRootObject() }
        families.each { parent, children -> parent.addChildObjects(children) }
        hierarchy.fireHierarchyChangedEvent(script)
        def history = head.getAsJsonObject("history").entrySet().collectEntries { [it.getKey(), it.getValue().getAsString()] }
        if (history)
            addStep(data, history)
        return found.size()
    }

    /** Whether an object was made by this tool, which its id shows wherever the object was moved. */
    static boolean isOwn(PathObject object) {
        return object.getID().toString() ==~ /ce119e00-[0-9a-f]{4}-8[0-9a-f]{3}-.*/
    }

    private static void addStep(ImageData data, Map<String, String> history) {
        def comment = history.collect { key, value -> "// CellGenNet - " + key + ": " + value }.join("\n")
        def step = new DefaultScriptableWorkflowStep("CellGenNet", history, comment)
        def last = data.getHistoryWorkflow().getLastStep()
        if (last?.toString() != step.toString() || last?.getParameterMap() != step.getParameterMap())
            data.getHistoryWorkflow().addStep(step)
    }

    /** Import nuclei into the saved data of images that are not open; a failure in one does not stop the others. */
    void bringInto(Set<String> ids) {
        def failed = []
        for (def entry : QP.getProject().getImageList()) {
            if (!ids.contains(entry.getID()))
                continue
            try {
                def data = entry.readImageData()
                // QuPath 0.5 loses objects when it saves an image that it cannot open.
                if (data.getServer() == null)
                    throw new IOException("QuPath cannot open the image")
                int count = bringIn(entry, data, "")
                entry.saveImageData(data)
                data.getServer().close()
                say(count + " nuclei saved in " + entry.getImageName() + ".")
            } catch (Exception e) {
                failed << entry.getImageName()
                say(entry.getImageName() + " FAILED (" + e.getMessage() + "). Its nuclei are in " + detectionsFile(entry) + ".")
            }
        }
        if (failed)
            throw new IllegalStateException("CellGenNet: nuclei could not be imported into " + failed.join(", ") + " (see above).")
    }
}
