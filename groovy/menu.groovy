// The menu Extensions > CellGenNet. `cellgennet groovy install` copies this file next to the settings file, into the
// folder .cellgennet of your home folder, where cellgennet_menu.groovy loads it. There is nothing to edit here.
//
// Last tested on QuPath 0.5.1 and 0.7.0.

import java.nio.file.Files
import java.nio.file.Path
import javafx.application.Platform
import javafx.concurrent.Task
import javafx.event.ActionEvent
import javafx.event.EventHandler
import javafx.scene.control.ButtonType
import javafx.scene.control.DialogEvent
import javafx.scene.control.MenuItem
import javafx.scene.control.SeparatorMenuItem
import javafx.stage.Modality
import org.controlsfx.dialog.ProgressDialog
import org.slf4j.LoggerFactory
import qupath.fx.dialogs.Dialogs
import qupath.lib.gui.QuPathGUI
import qupath.lib.gui.dialogs.ParameterPanelFX
import qupath.lib.gui.prefs.PathPrefs
import qupath.lib.gui.scripting.QPEx
import qupath.lib.gui.scripting.languages.GroovyLanguage
import qupath.lib.plugins.parameters.ParameterList
import qupath.lib.scripting.ScriptParameters

/** The options of a script, as its comment explains them and its first lines set them. */
class ScriptOptions {

    /** Options in order: name, value (text, Boolean or List), help, choices (empty for free text). */
    static List<Map> read(String text) {
        def help = [:].withDefault { [] }
        def name = null
        def options = []
        text.eachLine { line ->
            def begun = line =~ /^ \* (\w+) {2,}(\S.*)$/
            def set = line =~ /^def (\w+) = (".*"|\[\]|true|false|\d+)\s*$/
            if (begun.matches()) {
                name = begun.group(1)
                help[name] << begun.group(2)
            } else if (name && line.startsWith(" *  ")) {
                help[name] << line.substring(2).trim()
            } else if (set.matches() && help.containsKey(set.group(1))) {
                def value = value(set.group(2))
                options << [name: set.group(1), value: value, help: help[set.group(1)].join(" "),
                            choices: choices(help[set.group(1)], value)]
            } else {
                name = null
            }
        }
        return options
    }

    private static Object value(String written) {
        if (written.startsWith('"'))
            return written.substring(1, written.length() - 1)
        return written == "[]" ? [] : written in ["true", "false"] ? written.toBoolean() : written
    }

    /** Values that an explanation lists, each in quotation marks at the beginning of a line; "" if it is the default. */
    private static List choices(List lines, Object preset) {
        def listed = lines.findAll { it =~ /^"[\w-]+"/ }.collect { (it =~ /^"([\w-]+)"/)[0][1] }
        if (listed.size() < 2)
            return []
        return preset in listed ? listed : [preset] + listed
    }
}

/** Runs a script in the background; its last line is the message, and its progress the progress. */
class ScriptTask extends Task<String> {

    private static final def LOG = LoggerFactory.getLogger("CellGenNet")

    private final ScriptParameters.Builder builder
    private String last = ""

    ScriptTask(ScriptParameters.Builder builder) {
        this.builder = builder
        updateMessage("Starting")
    }

    @Override
    protected String call() {
        def writer = new LineWriter({ show(it) })
        GroovyLanguage.getInstance().execute(builder.setWriter(writer).setErrorWriter(writer).build())
        return last
    }

    private void show(String text) {
        LOG.info(text)
        last = text
        updateMessage(text)
        def share = text =~ /\((\d+)%\)/
        if (share.find())
            updateProgress(share.group(1) as long, 100)
    }
}

/** Passes whole lines on. */
class LineWriter extends Writer {

    private final Closure action
    private final StringBuilder line = new StringBuilder()

    LineWriter(Closure action) {
        this.action = action
    }

    @Override
    synchronized void write(char[] text, int from, int size) {
        for (char letter : new String(text, from, size).toCharArray()) {
            if (letter != (char) '\n') {
                line.append(letter)
                continue
            }
            def whole = line.toString().trim()
            line.setLength(0)
            if (whole)
                action(whole)
        }
    }

    @Override
    void flush() {}

    @Override
    void close() {}
}

class CellGenNetMenu {

    static final String TITLE = "CellGenNet"
    private static final List ENTRIES = [
        ["Train...", "cellgennet_train.groovy"],
        ["Segment this image...", "cellgennet_segment_image.groovy"],
        ["Segment project...", "cellgennet_segment_project.groovy"],
        null,
        ["Suggest regions to annotate...", "cellgennet_suggest.groovy"],
        ["Correct detections...", "cellgennet_correct.groovy"],
        null,
        ["Import nuclei...", "cellgennet_import_detections.groovy"],
        ["Export annotations", "cellgennet_export_annotations.groovy"],
        null,
    ]

    /** What the dialogs call the options. */
    private static final Map LABELS = [
        model: "Model", within: "Only inside annotations of class", selected: "Only inside the selected annotations",
        cells: "Expand nuclei into cells by (µm)", existing: "Detections that are there", images: "Only images named",
        count: "Number of windows", size: "Size of a window (pixels)", className: "Class of the region",
        config: "File of settings", resume: "Continue a training that was stopped", moreOptions: "Other options",
    ]

    private final File scripts
    private final File home
    private final QuPathGUI window = QuPathGUI.getInstance()

    /** scripts: the folder of the scripts; home: that of the settings file. */
    CellGenNetMenu(File scripts, File home) {
        this.scripts = scripts
        this.home = home
    }

    /** Add the menu to QuPath's window, or replace it. */
    void add() {
        def menu = window.getMenu("Extensions>" + TITLE, true)
        menu.getItems().clear()
        for (def entry : ENTRIES) {
            if (entry == null) {
                menu.getItems().add(new SeparatorMenuItem())
            } else if (new File(scripts, entry[1]).isFile()) {
                def (title, script) = entry
                menu.getItems().add(item(title, { open(title - "...", new File(scripts, script)) }))
            }
        }
        menu.getItems().add(item("Open report", { openReport() }))
        menu.getItems().add(item("Settings...", { openSettings() }))
    }

    /** Ask whether the menu is to be there whenever QuPath starts, unless it is or another script is run then. */
    void offerToStay(File script) {
        def now = PathPrefs.startupScriptProperty().get()
        if (now == script.getPath())
            return
        if (now)
            Dialogs.showMessageDialog(TITLE, "The menu Extensions > CellGenNet is there until QuPath is closed.\n\nQuPath runs another script when it starts (${now}). " +
                "To have the menu always, add this line to it:\n\nevaluate(new File('${script.getPath().replace('\\', '/')}'))")
        else if (Dialogs.showYesNoDialog(TITLE, "Add the menu Extensions > CellGenNet whenever QuPath starts?"))
            PathPrefs.startupScriptProperty().set(script.getPath())
    }

    private static MenuItem item(String title, Closure action) {
        def made = new MenuItem(title)
        made.setOnAction({ ActionEvent event ->
            try {
                action()
            } catch (Exception e) {
                LoggerFactory.getLogger(TITLE).error(e.getMessage(), e)
                Dialogs.showErrorMessage(TITLE, e.getMessage())
            }
        } as EventHandler)
        return made
    }

    /** The dialog of a script's options, and then the script with them. */
    void open(String title, File script) {
        if (window.getProject() == null) {
            Dialogs.showErrorMessage(TITLE, "Open a project first.")
            return
        }
        def options = ScriptOptions.read(script.getText("UTF-8"))
        def params = parameters(script, options)
        if (options && !Dialogs.showConfirmDialog(TITLE + ": " + title, new ParameterPanelFX(params).getPane()))
            return
        def chosen = options.collectEntries { [it.name, text(params, it)] }
        remember(script, chosen)
        run(title, script, chosen.collect { key, value -> key + "=" + value })
    }

    private ParameterList parameters(File script, List<Map> options) {
        def params = new ParameterList()
        def before = remembered()
        for (def option : options) {
            def known = before.getProperty(script.getName() + "." + option.name)
            def value = known == null ? option.value : known
            if (option.choices && !(value in option.choices))
                value = option.value
            def label = LABELS[option.name] ?: option.name
            if (option.value instanceof Boolean)
                params.addBooleanParameter(option.name, label, value.toString().toBoolean(), option.help)
            else if (option.choices)
                params.addChoiceParameter(option.name, label, value.toString(), option.choices, option.help)
            else
                params.addStringParameter(option.name, label, value instanceof List ? value.join(";") : value.toString(), option.help)
        }
        return params
    }

    private static String text(ParameterList params, Map option) {
        if (option.value instanceof Boolean)
            return params.getBooleanParameterValue(option.name).toString()
        if (option.choices)
            return params.getChoiceParameterValue(option.name).toString()
        return params.getStringParameterValue(option.name) ?: ""
    }

    /** Run a script as the script editor does, with its progress in a window that can stop it. */
    private void run(String title, File script, List<String> arguments) {
        def builder = ScriptParameters.builder().setFile(script).setProject(window.getProject()).setImageData(window.getImageData())
            .setArgs(arguments as String[]).setDefaultImports(QPEx.getCoreClasses()).setDefaultStaticImports([QPEx])
        def task = new ScriptTask(builder)
        def progress = new ProgressDialog(task)
        progress.initOwner(window.getStage())
        progress.setTitle(TITLE)
        progress.setHeaderText(title)
        progress.getDialogPane().setMinWidth(520)
        // QuPath stays usable meanwhile, as with Run in the script editor.
        progress.initModality(Modality.NONE)
        progress.getDialogPane().getButtonTypes().add(ButtonType.CANCEL)
        progress.getDialogPane().lookupButton(ButtonType.CANCEL).addEventFilter(ActionEvent.ACTION, { event ->
            event.consume()
            task.cancel(true)
        } as EventHandler)
        // Closing the window would leave the work going on unseen.
        progress.setOnCloseRequest({ DialogEvent event ->
            if (!task.isDone()) {
                event.consume()
                task.cancel(true)
            }
        } as EventHandler)
        task.setOnSucceeded({ Dialogs.showInfoNotification(TITLE + ": " + title, task.getValue()) } as EventHandler)
        task.setOnFailed({ Dialogs.showErrorMessage(TITLE + ": " + title, reason(task.getException())) } as EventHandler)
        task.setOnCancelled({ Dialogs.showInfoNotification(TITLE + ": " + title, "Stopped. To continue, choose it again.") } as EventHandler)
        window.getThreadPoolManager().getSingleThreadExecutor(this).submit(task)
    }

    private static String reason(Throwable error) {
        while (error.getCause() != null)
            error = error.getCause()
        return (error.getMessage() ?: error.toString()) - "CellGenNet: "
    }

    // --- what was chosen last, per project --------------------------------------------------------------------

    private Path choices() {
        return window.getProject().getPath().getParent().resolve("cellgennet").resolve("menu.properties")
    }

    private Properties remembered() {
        def known = new Properties()
        if (Files.isRegularFile(choices()))
            Files.newBufferedReader(choices()).withCloseable { known.load(it) }
        return known
    }

    private void remember(File script, Map<String, String> chosen) {
        def known = remembered()
        chosen.each { key, value -> known.setProperty(script.getName() + "." + key, value) }
        Files.createDirectories(choices().getParent())
        Files.newBufferedWriter(choices()).withCloseable { known.store(it, "What was chosen last in the menu Extensions > CellGenNet") }
    }

    // --- other entries ----------------------------------------------------------------------------------------

    private void openReport() {
        if (window.getProject() == null) {
            Dialogs.showErrorMessage(TITLE, "Open a project first.")
            return
        }
        def pages = []
        def folder = window.getProject().getPath().getParent().resolve("cellgennet").toFile()
        if (folder.isDirectory())
            folder.eachFileRecurse { if (it.getName().endsWith(".html") && it.getParentFile().getName() == "report") pages << it }
        if (pages)
            QuPathGUI.openInBrowser(pages.max { it.lastModified() }.toURI().toString())
        else
            Dialogs.showErrorMessage(TITLE, "There is no report yet: segment or train first.")
    }

    private void openSettings() {
        def file = new File(home, "qupath.properties")
        def settings = new Properties()
        if (file.isFile())
            file.withReader("UTF-8") { settings.load(it) }
        def start = new File(scripts, "cellgennet_menu.groovy").getPath()
        def now = PathPrefs.startupScriptProperty().get()
        def params = new ParameterList()
            .addStringParameter("python", "Python", settings.getProperty("python", ""), "The Python in which CellGenNet is installed")
            .addBooleanParameter("menu", "Add this menu when QuPath starts", now == start, "As QuPath's startup script")
        if (!Dialogs.showConfirmDialog(TITLE + ": Settings", new ParameterPanelFX(params).getPane()))
            return
        settings.setProperty("python", params.getStringParameterValue("python"))
        file.withWriter("UTF-8") { settings.store(it, "Written by QuPath (Extensions > CellGenNet > Settings)") }
        if (params.getBooleanParameterValue("menu"))
            PathPrefs.startupScriptProperty().set(start)
        else if (now == start)
            PathPrefs.startupScriptProperty().set(null)
    }
}
