// Code shared by the CellGenNet scripts. `cellgennet groovy install` copies it next to the settings file, into the
// folder .cellgennet of your home folder, where the scripts load it. There is nothing to edit here.
//
// Last tested on QuPath 0.5.1 and 0.7.0.

import com.google.gson.JsonObject
import java.nio.file.Files
import java.nio.file.Path
import java.nio.file.StandardCopyOption
import java.nio.file.attribute.FileTime
import java.text.SimpleDateFormat
import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.TimeUnit
import java.util.zip.GZIPInputStream
import java.util.zip.GZIPOutputStream
import qupath.lib.gui.QuPathGUI
import qupath.lib.images.ImageData
import qupath.lib.io.GsonTools
import qupath.lib.io.PathIO
import qupath.lib.objects.PathObject
import qupath.lib.objects.PathObjectTools
import qupath.lib.objects.PathObjects
import qupath.lib.objects.classes.PathClass
import qupath.lib.plugins.workflow.DefaultScriptableWorkflowStep
import qupath.lib.projects.ProjectImageEntry
import qupath.lib.scripting.QP

class CellGenNet {

    private static final String SEPARATOR = ";"
    private static final String TOOL = "cellgennet.tool"
    private static final String STOPPED = "cellgennet.stopped"
    private static final String TRAINED = "cellgennet.trained"
    /** A property of an image's data: the run whose nuclei were imported last. */
    private static final String IMPORTED = "cellgennet.imported"
    /** A member of the tool's answer: its nuclei are those that QuPath has. */
    private static final String UNCHANGED = "unchanged"
    /** The head of a file of detections that no run made. */
    private static final String HEAD =
        '{"type":"FeatureCollection","cellgennet":{"existing": "replace-own", "history": {}, "measurements": []},"features":['
    private static final int SECONDS_TO_END = 60
    /** Saving an image and opening the next one may take long, over a network. */
    private static final int MINUTES_BETWEEN_IMAGES = 10

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

    // --- what the scripts do ----------------------------------------------------------------------------------

    /** Segment the open image; its nuclei are not saved. Options as in cellgennet_segment_image.groovy. */
    void segmentImage(Map options) {
        calmly {
            if (batchSize > 1)
                throw new IllegalStateException("CellGenNet: this script segments only the open image. For several images, run cellgennet_segment_project.groovy.")
            def entry = openEntry()
            def more = segmentOptions(options)
            if (option("selected", options.selected))
                more += selectedAnnotations()
            def told = withTool(more) { ask(it, entry) }
            if (told != null)
                say(bringIn(entry, QP.getCurrentImageData(), "", isUnchanged(told)) + " nuclei in " + entry.getImageName() + ". Save the image to keep them.")
        }
    }

    /**
     * Segment images. In "Run for project", and without a window, the script's image; QuPath saves it. Else all
     * images, or those that the option "images" names; those that are not open are saved.
     */
    void segmentProject(Map options) {
        calmly {
            def more = segmentOptions(options)
            def names = option("images", options.images)
            if (!names && isOneOfBatch()) {
                segmentInBatch(more)
                return
            }
            def failed = []
            withTool(more) { tool ->
                for (def entry : chosen(names)) {
                    try {
                        def told = ask(tool, entry)
                        if (told != null)
                            bringIntoOpenOrSaved(entry, isUnchanged(told))
                    } catch (IOException | IllegalStateException e) {
                        failed << entry.getImageName()
                        script.println(e.getMessage())
                    }
                }
            }
            if (failed)
                throw new IllegalStateException("CellGenNet: failed: " + failed.join(", ") + " (see above). All other images are done.")
        }
    }

    /** Train a model; once, also in "Run for project", at the image that comes first. */
    void train(Map options) {
        calmly {
            if (follows(System.getProperties().get(TRAINED))) {
                System.getProperties().put(TRAINED, position())
                say("the model was trained at the first image of this batch, on all images.")
                return
            }
            def target = project.resolve(option("model", options.model))
            def arguments = ["train", project, "-o", target]
            if (option("config", options.config))
                arguments += ["-c", option("config", options.config)]
            if (option("resume", options.resume))
                arguments << "--resume"
            withCheckedNuclei { script.println(run(arguments + ["--backend", "files"] + option("moreOptions", options.moreOptions))) }
            System.getProperties().put(TRAINED, position())
            say("the model is in ${target}. Set it as 'model' in cellgennet_segment_image.groovy or cellgennet_segment_project.groovy.")
        }
    }

    /** Import the nuclei that were segmented on a computer without QuPath. */
    void importDetections(Map options) {
        def entry = openEntry()
        if (Files.exists(detectionsFile(entry)))
            say(bringIn(entry, QP.getCurrentImageData(), option("existing", options.existing), false) + " nuclei are now in " + entry.getImageName() + ".")
        else
            say("no nuclei to import into ${entry.getImageName()} (the file ${detectionsFile(entry)} does not exist). Run cellgennet segment first.")
    }

    /** Export the annotations of the image for a computer without QuPath. */
    void exportAnnotations() {
        def entry = openEntry()
        say(writeAnnotations(entry, QP.getCurrentImageData()) + " annotations of " + entry.getImageName() + " written to " + annotationsFile(entry) + ".")
    }

    /** Suggest windows to annotate; once, also in "Run for project". Options as in cellgennet_suggest.groovy. */
    void suggest(Map options) {
        calmly {
            if (batchIndex > 0) {
                say("the windows were suggested at the first image of this batch, for all images.")
                return
            }
            def arguments = ["suggest", project, "-n", option("count", options.count), "--size", option("size", options.size)]
            if (option("model", options.model))
                arguments += ["-m", option("model", options.model)]
            option("images", options.images).each { arguments += ["--image", it] }
            arguments += ["--backend", "files", "--json"] + option("moreOptions", options.moreOptions)
            def answer = withCheckedNuclei { GsonTools.getInstance().fromJson(run(arguments), JsonObject) }
            answer.get("windows").each { say(it.get("name").getAsString() + ": " + it.get("reason").getAsString()) }
            def looked = answer.get("images").findAll { it.get("status").getAsString() == "done" }.collect { it.get("id").getAsString() }
            QP.getProject().getImageList().findAll { looked.contains(it.getID()) }.each { bringInSuggestions(it) }
            if (!answer.get("page").isJsonNull())
                say("pictures of the suggestions: " + answer.get("page").getAsString())
        }
    }

    /** Make annotations of the nuclei in the selected annotations. Options as in cellgennet_correct.groovy. */
    void correct(Map options) {
        if (batchSize > 1)
            throw new IllegalStateException("CellGenNet: this script works on the open image only, because it needs a selection.")
        def data = QP.getCurrentImageData()
        if (data == null)
            throw new IllegalStateException("CellGenNet: open an image first.")
        def regions = QP.getSelectedObjects().findAll { it.isAnnotation() && it.getROI()?.isArea() }
        if (regions.isEmpty())
            throw new IllegalStateException("CellGenNet: select a rectangle (or another closed annotation) around the nuclei first.")
        int count = toCorrect(data, regions, option("className", options.className))
        say(count + " nuclei are now annotations in " + regions.size() + (regions.size() == 1 ? " region" : " regions") + ". Correct them, then save the image.")
    }

    // --- options and messages ---------------------------------------------------------------------------------

    /** The value of an option: from the command line as name=value (QuPath script --args), else from the script. */
    def option(String name, Object value) {
        def given = script.binding.hasVariable("args") ? script.binding.getVariable("args") : null
        def found = given?.find { it.startsWith(name + "=") }
        if (found == null)
            return value
        def text = found.substring(name.length() + 1)
        if (value instanceof List)
            return text.split(SEPARATOR).collect { it.trim() }.findAll { it }
        return value instanceof Boolean ? text.toBoolean() : text
    }

    private List segmentOptions(Map options) {
        def more = option("moreOptions", options.moreOptions ?: [])
        for (def given : [["-m", "model"], ["--within", "within"], ["--cells", "cells"], ["--existing", "existing"]])
            if (option(given[1], options[given[1]]))
                more = [given[0], option(given[1], options[given[1]])] + more
        return more
    }

    private static List selectedAnnotations() {
        def chosen = QP.getSelectedObjects().findAll { it.isAnnotation() && it.getROI()?.isArea() }
        if (chosen.isEmpty())
            throw new IllegalStateException("CellGenNet: select one or more closed annotations first.")
        return chosen.collectMany { ["--within-id", it.getID().toString()] }
    }

    private static ProjectImageEntry openEntry() {
        def entry = QP.getProjectEntry()
        if (entry == null)
            throw new IllegalStateException("CellGenNet: open an image of a project first.")
        return entry
    }

    /** The images that have one of these names, or fit one of these patterns (* and ?); all without any. */
    private static List chosen(List names) {
        def entries = QP.getProject().getImageList()
        if (!names)
            return entries
        def meant = [] as Set
        for (String name : names) {
            def fitting = entries.findAll { it.getImageName() == name }
            if (fitting.isEmpty()) {
                def pattern = java.util.regex.Pattern.quote(name).replace("*", "\\E.*\\Q").replace("?", "\\E.\\Q")
                fitting = entries.findAll { it.getImageName().matches(pattern) }
            }
            if (fitting.isEmpty())
                throw new IllegalStateException("CellGenNet: no image is named ${name}. The images are: " + entries.collect { it.getImageName() }.join(", "))
            meant += fitting.collect { it.getID() }
        }
        return entries.findAll { meant.contains(it.getID()) }
    }

    /** Index of this image in "Run for project", from 0; 0 in a plain run. */
    int getBatchIndex() { number("qupath.script.batchIndex", 0) }

    /** Number of images in "Run for project"; 1 in a plain run. */
    int getBatchSize() { number("qupath.script.batchSize", 1) }

    /** Whether the script runs for one of several chosen images; a batch of one has the same numbers as a plain run. */
    private boolean isOneOfBatch() {
        def data = QP.getCurrentImageData()
        def shown = QuPathGUI.getInstance()?.getAllViewers()?.any { it.getImageData().is(data) }
        return batchSize > 1 || data != null && !shown
    }

    private int number(String name, int otherwise) {
        def value = script.binding.hasVariable(name) ? script.binding.getVariable(name) : null
        return value instanceof Number && value >= 0 ? value as int : otherwise
    }

    void say(String line) {
        script.println("CellGenNet: " + line)
    }

    /** The user stopped the script. */
    static class Stopped extends RuntimeException {
        Stopped() { super("CellGenNet: stopped. To continue, run the script again.") }
    }

    /** Run an action; where the user stops it, one line says so. In "Run for project" the rest is stopped too. */
    void calmly(Closure action) {
        if (stoppedInThisBatch()) {
            say("stopped, so " + QP.getProjectEntry()?.getImageName() + " is left as it is.")
            return
        }
        try {
            action()
        } catch (Stopped stopped) {
            script.println(stopped.getMessage())
            System.getProperties().put(STOPPED, position())
        }
    }

    // QuPath goes on to the next image after "Kill running script" and gives no sign of a stop.
    private boolean stoppedInThisBatch() {
        boolean stopped = follows(System.getProperties().get(STOPPED))
        if (stopped)
            System.getProperties().put(STOPPED, position())
        else
            System.getProperties().remove(STOPPED)
        return stopped
    }

    private Map position() {
        return [size: batchSize, index: batchIndex, project: project.toString(), thread: Thread.currentThread().getId(),
                time: System.currentTimeMillis()]
    }

    /**
     * Whether this is the next image of the same "Run for project" as an earlier one: a higher index, on the same
     * thread, within minutes. QuPath itself gives a batch no name, and does not run every index.
     */
    private boolean follows(Map earlier) {
        return earlier != null && batchSize > 1 && earlier.size == batchSize && earlier.index < batchIndex &&
            earlier.project == project.toString() && earlier.thread == Thread.currentThread().getId() &&
            System.currentTimeMillis() - earlier.time < MINUTES_BETWEEN_IMAGES * 60000
    }

    // --- the command line tool --------------------------------------------------------------------------------

    /**
     * Run the command line tool and wait for it. Its messages go to QuPath's log line by line; its standard
     * output is returned. Stopping the script stops the tool; the next run resumes.
     */
    String run(List<String> arguments) {
        def tool = start(arguments)
        def result = new StringBuilder()
        try {
            for (def line = tool.replies.take(); line != tool.end; line = tool.replies.take())
                result << line << "\n"
            int code = finish(tool)
            if (code == 3)
                say("some images failed (see above); all others are done.")
            else if (code != 0)
                throw new IllegalStateException("CellGenNet: " + (tool.error ?: "the tool ended with exit code ${code}; see the lines above"))
            return result.toString()
        } catch (InterruptedException e) {
            stop(tool)
            throw new Stopped()
        }
    }

    /** A running tool, kept where scripts that run later find it: process, replies (lines of its output), say. */
    private Map start(List<String> arguments) {
        // A list of arguments, not one string, so that spaces and umlauts in paths need no quoting.
        def command = [python, "-X", "utf8", "-m", "cellgennet_qupath"] + arguments.collect { it.toString() }
        def tool = [replies: new LinkedBlockingQueue(), end: new Object(), error: "", say: { script.println(it) }]
        // Registered before the start, because QuPath may be closed at any moment.
        tool.hook = new Thread({ tool.process?.destroy() })
        Runtime.getRuntime().addShutdownHook(tool.hook)
        try {
            tool.process = new ProcessBuilder(command).start()
        } catch (IOException e) {
            Runtime.getRuntime().removeShutdownHook(tool.hook)
            // No cause is attached: QuPath would show it instead of this message.
            throw new IllegalStateException("CellGenNet: cannot start ${python} (${e.getMessage()}). Run 'cellgennet groovy install' again.")
        }
        tool.messages = Thread.startDaemon {
            try {
                tool.process.getErrorStream().withReader("UTF-8") { reader ->
                    reader.eachLine { line ->
                        tool.say(line)
                        if (line.startsWith("Error"))
                            tool.error = line
                    }
                }
            } catch (IOException closed) {
                // The process was ended, so there are no more lines.
            }
        }
        Thread.startDaemon {
            try {
                tool.process.getInputStream().withReader("UTF-8") { reader -> reader.eachLine { tool.replies.put(it) } }
            } catch (IOException closed) {
                // The process was ended, so there are no more lines.
            } finally {
                tool.replies.put(tool.end)
            }
        }
        return tool
    }

    private static int finish(Map tool) {
        int code = tool.process.waitFor()
        tool.messages.join()
        unhook(tool)
        return code
    }

    private static void stop(Map tool) {
        tool.say = { }  // the script itself says in one line that it was stopped
        tool.process.destroy()
        // QuPath interrupts once; the tool needs a moment to release the project.
        try {
            tool.process.waitFor(SECONDS_TO_END, TimeUnit.SECONDS)
        } finally {
            tool.process.destroyForcibly()
            unhook(tool)
        }
    }

    private static void unhook(Map tool) {
        try {
            Runtime.getRuntime().removeShutdownHook(tool.hook)
        } catch (IllegalStateException closing) {
            // QuPath is being closed; the hook runs now.
        }
    }

    /** Segment with one tool that loads the model once; "action" gets it. It is ended afterwards. */
    private def withTool(List more, Closure action) {
        def tool = start(segmentArguments(more))
        try {
            def result = action(tool)
            end(tool)
            return result
        } catch (InterruptedException | Stopped e) {
            stop(tool)
            throw new Stopped()
        } catch (Throwable e) {
            stop(tool)
            throw e
        }
    }

    private List segmentArguments(List more) {
        return ["segment", project, "--backend", "files", "--json", "--image-id", "-"] + more
    }

    /** Let a tool end by itself: it writes its page and releases the project. */
    private static void end(Map tool) {
        try {
            tool.process.getOutputStream().close()
        } catch (IOException ended) {
            // The tool ended before; there is nothing to tell it.
        }
        finish(tool)
    }

    /**
     * Have a running tool segment one image, by its annotations as they are now. Returns null where there was
     * nothing to segment; throws an exception if it failed.
     */
    private JsonObject ask(Map tool, ProjectImageEntry entry) {
        reportUnsavedStains(entry)
        def (told, unchanged) = withCurrentNuclei(entry) { withOpenAnnotations { reply(tool, entry.getID()) } }
        if (told == null)
            throw new IllegalStateException("CellGenNet: " + (tool.error ?: "the tool ended with exit code ${finish(tool)}; see the lines above"))
        def status = told.get("status").getAsString()
        if (status == "failed")
            throw new IllegalStateException("CellGenNet: " + entry.getImageName() + " FAILED: " + told.get("reason").getAsString())
        told.addProperty(UNCHANGED, unchanged)
        if (status == "done" && told.get("detections").getAsInt() > 0)
            return told
        say(entry.getImageName() + ": " + (status == "done" ? "no nuclei: " : "") + told.get("reason").getAsString())
        return status == "done" ? told : null
    }

    /** Say that the stains on the screen are not those that the tool reads. */
    private void reportUnsavedStains(ProjectImageEntry entry) {
        def open = openData(entry)
        if (open == null || !open.isChanged())
            return
        if (settingsOf(open) != settingsOf(readQuietly(entry)))
            say("Warning: the image type or the stains of " + entry.getImageName() + " were changed and not saved. Stains are measured as they were saved: save the image, then run the script again.")
    }

    /** The type and stains of an image as text. */
    private static String settingsOf(ImageData data) {
        def stains = data?.getColorDeconvolutionStains()
        def numbers = stains == null ? [] : [stains.getMaxRed(), stains.getMaxGreen(), stains.getMaxBlue()] +
            (1..3).collectMany { stains.getStain(it).getArray() as List }
        return (data?.getImageType() ?: ImageData.ImageType.UNSET).name() + numbers.collect { (it * 10000).round() }
    }

    /** What the tool says about an image; null if it ended without an answer. */
    private static JsonObject reply(Map tool, String id) {
        try {
            def input = tool.process.getOutputStream()
            input.write((id + "\n").getBytes("UTF-8"))
            input.flush()
        } catch (IOException ended) {
            tool.process.waitFor()
            tool.messages.join()
            return null
        }
        def line = tool.replies.take()
        if (line == tool.end) {
            tool.messages.join()
            return null
        }
        return GsonTools.getInstance().fromJson(line, JsonObject)
    }

    /**
     * Segment the image of a script in "Run for project". One tool runs from image to image of a project, as long
     * as the options are the same; it ends with the last image, or when it is not used for a minute.
     */
    private void segmentInBatch(List more) {
        def entry = openEntry()
        def arguments = segmentArguments(more).collect { it.toString() }
        def tool = System.getProperties().get(TOOL)
        if (tool != null && (tool.arguments != arguments || !tool.process.isAlive())) {
            System.getProperties().remove(TOOL)
            if (tool.process.isAlive())
                end(tool)
            tool = null
        }
        boolean fresh = tool == null
        if (fresh)
            tool = keptTool(arguments)
        tool.say = { script.println(it) }
        try {
            def told
            try {
                told = ask(tool, entry)
            } catch (IllegalStateException e) {
                if (fresh || tool.process.isAlive() || tool.error)
                    throw e
                tool = keptTool(arguments)  // it had ended while QuPath was busy with something else
                told = ask(tool, entry)
            }
            if (told != null)
                say(bringIn(entry, QP.getCurrentImageData(), "", isUnchanged(told)) + " nuclei in " + entry.getImageName() + ".")
            if (batchIndex == batchSize - 1) {
                System.getProperties().remove(TOOL)
                end(tool)
            }
        } catch (InterruptedException | Stopped e) {
            System.getProperties().remove(TOOL)
            stop(tool)
            throw new Stopped()
        }
    }

    private Map keptTool(List arguments) {
        def tool = start(arguments)
        tool.arguments = arguments
        System.getProperties().put(TOOL, tool)
        return tool
    }

    // --- annotations ------------------------------------------------------------------------------------------

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

    /** Run an action during which the tool reads the current annotations of the open images, saved or not. */
    def withOpenAnnotations(Closure action) {
        def changed = openImages().findAll { it.isChanged() && QP.getProject().getEntry(it) != null }
        return changed.inject(action) { inner, data -> { -> withAnnotationsOf(data, inner) } }.call()
    }

    private def withAnnotationsOf(ImageData data, Closure action) {
        def entry = QP.getProject().getEntry(data)
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

    // --- nuclei as they are in QuPath --------------------------------------------------------------------------

    private static boolean isUnchanged(JsonObject told) {
        return told.get(UNCHANGED).getAsBoolean()
    }

    /** The run that wrote the file of an image's nuclei; null if that is not known. */
    private String runOf(ProjectImageEntry entry) {
        def record = project.resolve("cellgennet").resolve("segmented").resolve(entry.getID() + ".json")
        def file = detectionsFile(entry)
        if (!Files.exists(record) || !Files.exists(file))
            return null
        try {
            def known = GsonTools.getInstance().fromJson(Files.readString(record), JsonObject)
            boolean fits = known.get("checksum").getAsString() == Files.readAllBytes(file).digest("SHA-256")
            return fits ? known.get("sha256").getAsString() : null
        } catch (RuntimeException damaged) {
            return null
        }
    }

    /**
     * Run an action during which the tool finds the nuclei of an image as they are in QuPath, where some were
     * deleted or given another class. Returns its result, and whether the image then has these nuclei.
     */
    private List withCurrentNuclei(ProjectImageEntry entry, Closure action) {
        def lines = currentNuclei(entry)
        if (lines == null)
            return [action(), false]
        def file = detectionsFile(entry)
        def earlier = Files.exists(file) ? Files.readAllBytes(file) : null
        def time = earlier == null ? null : Files.getLastModifiedTime(file)
        // The tool trusts a file that is newer than QuPath's data.
        if (lines)
            writeNuclei(file, lines)
        else
            Files.setLastModifiedTime(file, FileTime.fromMillis(System.currentTimeMillis()))
        def written = Files.getLastModifiedTime(file)
        def isUntouched = { Files.exists(file) && Files.getLastModifiedTime(file) == written }
        try {
            def result = action()
            return [result, isUntouched()]
        } finally {
            if (isUntouched() && earlier == null) {
                Files.delete(file)
            } else if (isUntouched()) {
                Files.write(file, earlier)
                Files.setLastModifiedTime(file, time)
            }
        }
    }

    /** Run an action as withCurrentNuclei does, for all images with regions of class Corrected. */
    private def withCheckedNuclei(Closure action) {
        def all = QP.getProject().getImageList().findAll { hasCheckedRegions(it) }.inject({ withOpenAnnotations(action) }) { inner, entry ->
            { -> withCurrentNuclei(entry, inner)[0] }
        }
        return all()
    }

    private boolean hasCheckedRegions(ProjectImageEntry entry) {
        def data = openData(entry)
        if (data != null)
            return data.getHierarchy().getAnnotationObjects().any { classOf(it) == "Corrected" }
        def summary = entry.getEntryPath().resolve("summary.json")
        return Files.exists(summary) && Files.readString(summary).contains('"Corrected"')
    }

    /**
     * The lines of the file of an image's nuclei, changed to what QuPath has; empty where that is the same, and null
     * where other nuclei were imported last or none of them are there. Where there is no file, the tool itself wrote
     * the nuclei into QuPath's data, and all are new to a tool that runs without QuPath.
     */
    private List<String> currentNuclei(ProjectImageEntry entry) {
        def file = detectionsFile(entry)
        def run = runOf(entry)
        if (run == null && Files.exists(file))
            return null
        def data = openData(entry) ?: readQuietly(entry)
        if (data == null || run != null && data.getProperty(IMPORTED) != run)
            return null
        def nuclei = data.getHierarchy().getDetectionObjects().findAll { isOwn(it) && isNucleus(it) }
        if (!nuclei)
            return null
        return run == null ? [HEAD, *nuclei.collect { lineOf(it) }] : linesOf(nuclei, file)
    }

    /** The saved data of an image, of which only objects, type and stains may be used; null where there are none. */
    private static ImageData readQuietly(ProjectImageEntry entry) {
        try {
            def data = entry.hasImageData() ? entry.readImageData() : null
            data?.getServer()?.close()
            return data
        } catch (Exception unreadable) {
            return null  // the tool says what is wrong with the image
        }
    }

    /** Call an action with the id and the line of each nucleus in a file; returns the file's first line. */
    private static String eachFeature(Path file, Closure action) {
        return new GZIPInputStream(Files.newInputStream(file)).withReader("UTF-8") { reader ->
            def head = reader.readLine()
            reader.eachLine { line ->
                def id = line =~ /^\{"type":"Feature","id":"([^"]+)"/
                if (id.find())
                    action(id.group(1), line.endsWith(",") ? line[0..-2] : line)
            }
            return head
        }
    }

    private static List<String> linesOf(Collection<PathObject> nuclei, Path file) {
        Map<String, String> known = [:]
        def head = eachFeature(file) { id, line -> known[id] = line }
        Map<String, String> classes = [:]
        boolean changed = nuclei.size() != known.size()
        def now = nuclei.collect { nucleus ->
            def line = known[nucleus.getID().toString()]
            boolean same = line != null && classIn(line, classes) == classOf(nucleus)
            changed |= !same
            return same ? line : lineOf(nucleus)
        }
        return changed ? [head, *now] : []
    }

    /** The class in a line of a file of nuclei; "" for none. */
    private static String classIn(String line, Map<String, String> known) {
        def told = line =~ /"classification":(\{"names?":\s*(?:\[[^\]]*\]|"(?:[^"\\]|\\.)*"))/
        if (!told.find())
            return ""
        return known.computeIfAbsent(told.group(1)) {
            def named = GsonTools.getInstance().fromJson(it + "}", JsonObject)
            return named.has("name") ? named.get("name").getAsString() : named.get("names").collect { it.getAsString() }.join(": ")
        }
    }

    private static String lineOf(PathObject nucleus) {
        def parent = nucleus.getParent()
        while (parent != null && !parent.isAnnotation() && !parent.isTMACore())
            parent = parent.getParent()
        def line = GsonTools.getInstance().toJson(nucleus)
        def above = parent == null ? "" : ',"parent":"' + parent.getID() + '"'
        return line.replaceFirst(/^\{"type":"Feature","id":"[^"]+"/) { it + above }
    }

    private static void writeNuclei(Path file, List<String> lines) {
        Files.createDirectories(file.getParent())
        def part = Files.createTempFile(file.getParent(), "nuclei", ".part")
        new GZIPOutputStream(Files.newOutputStream(part)).withWriter("UTF-8") { writer ->
            writer << lines[0] << "\n" << lines.tail().join(",\n") << "\n]}\n"
        }
        Files.move(part, file, StandardCopyOption.REPLACE_EXISTING)
    }

    // --- suggestions and corrections --------------------------------------------------------------------------

    /** The file to which the tool writes the suggestions for an image. */
    Path suggestionsFile(ProjectImageEntry entry) {
        return project.resolve("cellgennet").resolve("suggestions").resolve(entry.getID() + ".geojson")
    }

    /** Replace an image's earlier suggestions by those of its file, where it is open or else in its saved data. */
    private void bringInSuggestions(ProjectImageEntry entry) {
        def open = openData(entry)
        def data = open ?: entry.readImageData()
        def found = readSuggestions(entry)
        def annotations = data.getHierarchy().getAnnotationObjects()
        def earlier = annotations.findAll { isUntouchedSuggestion(it, annotations) }
        if (found || earlier) {
            // QuPath 0.5 loses objects when it saves an image that it cannot open.
            if (data.getServer() == null)
                throw new IOException("CellGenNet: QuPath cannot open " + entry.getImageName() + ". Its suggestions are in " + suggestionsFile(entry) + ".")
            data.getHierarchy().removeObjects(earlier, true)
            data.getHierarchy().getRootObject().addChildObjects(found)
            data.getHierarchy().fireHierarchyChangedEvent(script)
            data.setChanged(true)
            if (open == null)
                entry.saveImageData(data)
            say(found.size() + " suggestions in " + entry.getImageName() + (open == null ? ", saved." : ". Save the image to keep them."))
        }
        if (open == null)
            data.getServer()?.close()
    }

    /** The suggestions of an image's file; none without one. */
    private List<PathObject> readSuggestions(ProjectImageEntry entry) {
        def file = suggestionsFile(entry)
        if (!Files.exists(file))
            return []
        Map<String, String> reasons = [:]
        GsonTools.getInstance().fromJson(Files.readString(file), JsonObject).getAsJsonArray("features").each {
            def text = it.getAsJsonObject("properties").getAsJsonObject("metadata").get("ANNOTATION_DESCRIPTION")
            reasons[it.get("id").getAsString()] = text.getAsString()
        }
        def found = PathIO.readObjects(file) as List<PathObject>
        found.each {
            it.setLocked(true)
            it.setDescription(reasons[it.getID().toString()])
        }
        return found
    }

    /** Whether nobody has begun to work on a suggestion: the rule of suggested.py. */
    private static boolean isUntouchedSuggestion(PathObject object, Collection<PathObject> annotations) {
        if (!object.getID().toString().startsWith("ce119e01-") || classOf(object) != "Suggested" || !object.isLocked())
            return false
        def box = object.getROI()
        return !annotations.any {
            def roi = it.getROI()
            roi != null && classOf(it) != "Suggested" && roi.getBoundsWidth() * roi.getBoundsHeight() < box.getArea() &&
                box.contains(roi.getBoundsX() + roi.getBoundsWidth() / 2, roi.getBoundsY() + roi.getBoundsHeight() / 2)
        }
    }

    private static String classOf(PathObject object) {
        return object.getPathClass() == null ? "" : object.getPathClass().toString()
    }

    /** Make annotations of the nuclei in regions, and give the regions a class; returns the number of nuclei. */
    int toCorrect(ImageData data, Collection<PathObject> regions, String className) {
        def hierarchy = data.getHierarchy()
        def inside = hierarchy.getDetectionObjects().findAll { detection ->
            def nucleus = PathObjectTools.getROI(detection, true)
            // Not parts of cells, nor tiles.
            nucleus != null && nucleus.isArea() && !detection.isTile() && !detection.getParent().isDetection() && regions.any {
                def roi = it.getROI()
                roi.getZ() == nucleus.getZ() && roi.getT() == nucleus.getT() && roi.contains(nucleus.getCentroidX(), nucleus.getCentroidY())
            }
        }
        def nuclei = inside.collect { PathObjects.createAnnotationObject(PathObjectTools.getROI(it, true)) }
        // Without events of their own: one event at the end is one step for Edit > Undo.
        inside.each {
            def parent = it.getParent()
            def parts = it.getChildObjects() as List
            it.clearChildObjects()
            parent.removeChildObject(it)
            parent.addChildObjects(parts)
        }
        hierarchy.getRootObject().addChildObjects(nuclei)
        regions.each {
            it.setPathClass(PathClass.fromString(className))
            it.setLocked(true)
        }
        data.setChanged(true)
        hierarchy.fireHierarchyChangedEvent(script)
        return nuclei.size()
    }

    // --- nuclei -----------------------------------------------------------------------------------------------

    /** The file to which the tool writes the nuclei of an image. */
    Path detectionsFile(ProjectImageEntry entry) {
        return project.resolve("cellgennet").resolve("detections").resolve(entry.getID() + ".geojson.gz")
    }

    /**
     * Import the nuclei of an image into its object hierarchy; returns how many nuclei of this tool it then holds.
     * Detections in regions of class Corrected stay.
     *
     * existing  "replace-own", "replace-all" or "keep"; "" for the choice made for the segmentation.
     * unchanged  the nuclei of the file are those that the image has, and stay as they are.
     */
    int bringIn(ProjectImageEntry entry, ImageData data, String existing, boolean unchanged) {
        def file = detectionsFile(entry)
        // The tool itself wrote them into QuPath's data.
        if (unchanged && !Files.exists(file))
            return data.getHierarchy().getDetectionObjects().count { isOwn(it) }
        def found = unchanged ? [] : PathIO.readObjects(file)
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
        // Where the user has checked every detection, none is added, and none removed.
        def checked = checkedIn(hierarchy)
        found = found.findAll { !checked(it) }
        if (existing == "keep") {
            def ids = there.collect { it.getID() } as Set
            found = found.findAll { !ids.contains(it.getID()) }
        } else {
            // Not tiles and points, which the tool does not read and so could not put back.
            def gone = there.findAll { (isOwn(it) ? !unchanged : existing == "replace-all" && isNucleus(it)) && !checked(it) }
            def others = gone.count { !isOwn(it) }
            keepReplaced(entry, gone, found)
            // Child objects of a removed nucleus are kept, one level up.
            hierarchy.removeObjects(gone, true)
            if (others)
                say(others + " detections of other tools removed from " + entry.getImageName() + " (replace-all).")
        }
        def staying = hierarchy.getDetectionObjects().findAll { isOwn(it) }
        int untouched = staying.count { checked(it) }
        if (untouched)
            say(untouched + " nuclei in Corrected regions of " + entry.getImageName() + " stay as they are.")
        reportDoubles(entry, hierarchy.getDetectionObjects(), found)
        def possible = hierarchy.getAnnotationObjects() + (hierarchy.getTMAGrid()?.getTMACoreList() ?: [])
        def byId = possible.collectEntries { [it.getID().toString(), it] }
        def families = found.groupBy { byId[parents[it.getID().toString()]] ?: coreAround(hierarchy, it) ?: hierarchy.getRootObject() }
        families.each { parent, children -> parent.addChildObjects(children) }
        hierarchy.fireHierarchyChangedEvent(script)
        def run = runOf(entry)
        if (run == null)
            data.removeProperty(IMPORTED)
        else
            data.setProperty(IMPORTED, run)
        def history = head.getAsJsonObject("history").entrySet().collectEntries { [it.getKey(), it.getValue().getAsString()] }
        if (history && !unchanged)
            addStep(data, history)
        return staying.size() + found.size()
    }

    /** A detection or cell with an area: the rule of ObjectFilter. */
    private static boolean isNucleus(PathObject object) {
        return object.getROI()?.isArea() && !object.isTile()
    }

    /** Keep a copy of detections that are about to be replaced, where the tool itself has none: it reads only its own files. */
    private void keepReplaced(ProjectImageEntry entry, Collection<PathObject> gone, Collection<PathObject> found) {
        def folder = project.resolve("cellgennet").resolve("replaced").resolve(entry.getID())
        def copies = Files.isDirectory(folder) ? folder.toFile().listFiles().findAll { it.getName().endsWith(".geojson.gz") } : []
        def known = found.collect { it.getID().toString() } as Set
        if (copies)
            eachFeature(copies.max { it.lastModified() }.toPath()) { id, line -> known << id }
        def drawn = gone.findAll { it.getROI()?.isArea() }
        if (drawn.every { known.contains(it.getID().toString()) })
            return
        def file = folder.resolve(new SimpleDateFormat("yyyy-MM-dd'T'HH-mm-ss").format(new Date()) + "-qupath.geojson.gz")
        writeNuclei(file, [HEAD, *drawn.collect { lineOf(it) }])
        say("the detections that are replaced in " + entry.getImageName() + " are kept in " + file + ".")
    }

    /** Whether a detection is in a region of class Corrected: the rule of checked.py. */
    private static Closure checkedIn(hierarchy) {
        def regions = hierarchy.getAnnotationObjects().findAll { classOf(it) == "Corrected" && it.getROI()?.isArea() && isOnFirstPlane(it.getROI()) }
        return { PathObject object ->
            def roi = PathObjectTools.getROI(object, true)
            roi != null && isOnFirstPlane(roi) && regions.any { it.getROI().contains(roi.getCentroidX(), roi.getCentroidY()) }
        }
    }

    private static boolean isOnFirstPlane(roi) {
        return roi.getZ() == 0 && roi.getT() == 0
    }

    /** The core of a tissue microarray in which an object is, also where the tool does not know the grid; null for none. */
    private static PathObject coreAround(hierarchy, PathObject object) {
        def roi = object.getROI()
        return hierarchy.getTMAGrid()?.getTMACoreList()?.find { it.getROI().contains(roi.getCentroidX(), roi.getCentroidY()) }
    }

    /** Say how many of the objects that stay have the outline of one that is imported. */
    private void reportDoubles(ProjectImageEntry entry, Collection<PathObject> staying, Collection<PathObject> found) {
        def outlines = found.collect { outline(it) } as Set
        int doubles = staying.count { outlines.contains(outline(it)) }
        if (doubles)
            say("Warning: " + doubles + " detections that stay in " + entry.getImageName() + " have the same outlines as the nuclei imported now: "
                + "these nuclei were imported before under other ids, and are now there twice. To have them once, run this script with existing = \"replace-all\".")
    }

    private static List outline(PathObject object) {
        def roi = object.getROI()
        return [roi.getZ(), roi.getT(), roi.getNumPoints()] +
            [roi.getCentroidX(), roi.getCentroidY(), roi.getBoundsX(), roi.getBoundsY(), roi.getBoundsWidth(), roi.getBoundsHeight()].collect { (it * 100).round() }
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

    /** Import nuclei into an image where it is open in QuPath, else into its saved data. */
    private void bringIntoOpenOrSaved(ProjectImageEntry entry, boolean unchanged) {
        def data = openData(entry)
        if (data != null) {
            say(bringIn(entry, data, "", unchanged) + " nuclei in " + entry.getImageName() + ". Save the image to keep them.")
            return
        }
        data = entry.readImageData()
        // QuPath 0.5 loses objects when it saves an image that it cannot open.
        if (data?.getServer() == null)
            throw new IOException("CellGenNet: QuPath cannot open " + entry.getImageName() + ". Its nuclei are in " + detectionsFile(entry) + ".")
        int count = bringIn(entry, data, "", unchanged)
        entry.saveImageData(data)
        data.getServer().close()
        say(count + " nuclei saved in " + entry.getImageName() + ".")
    }

    /** The data of an image that is open; null where it is not. */
    private static ImageData openData(ProjectImageEntry entry) {
        return openImages().find { QP.getProject().getEntry(it)?.getID() == entry.getID() }
    }

    /** The data of all open images: of the script's image, and of those in viewers of the window. */
    private static List<ImageData> openImages() {
        def viewers = QuPathGUI.getInstance()?.getAllViewers() ?: []
        return [QP.getCurrentImageData(), *viewers.collect { it.getImageData() }].findAll { it != null }.unique { a, b -> a.is(b) ? 0 : 1 }
    }
}
