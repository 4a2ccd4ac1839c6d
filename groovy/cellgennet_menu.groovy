/*
 * Add the menu Extensions > CellGenNet to QuPath's window.
 *
 * When to use it: once. The menu has an entry for each of the scripts, with a small dialog for its options, so that
 * no script needs to be edited. QuPath remembers what you chose in each project.
 * How to run it: Automate > User scripts... > cellgennet menu opens it in the script editor; there, Run > Run. It asks
 * whether the menu is to be there whenever QuPath starts.
 *
 * It has no options.
 *
 * Last tested on QuPath 0.5.1 and 0.7.0.
 */

def home = new File(System.getenv("CELLGENNET_HOME") ?: System.getProperty("user.home") + "/.cellgennet")
if (!new File(home, "menu.groovy").isFile())
    throw new IllegalStateException("CellGenNet: not set up on this computer. Run 'cellgennet groovy install' in a terminal once.")
if (getQuPath() == null)
    throw new IllegalStateException("CellGenNet: this script needs the window of QuPath.")
def file = binding.hasVariable("qupath.script.file") ? binding.getVariable("qupath.script.file") : null
def scripts = file == null ? new File(home, "scripts") : new File(file.toString()).getParentFile()
def loader = new GroovyClassLoader(getClass().getClassLoader())
loader.parseClass(new File(home, "menu.groovy"))
def menu = loader.loadClass("CellGenNetMenu").getConstructor(File, File).newInstance(scripts, home)
def isStart = javafx.application.Platform.isFxApplicationThread()
javafx.application.Platform.runLater {
    menu.add()
    if (!isStart)
        menu.offerToStay(new File(scripts, "cellgennet_menu.groovy"))
}
