/*
 * Finds every nucleus of every image of the project with CellGenNet, and puts them into the project.
 *
 * When to use it: for many images. Run > Run does them all, open or not; the model is loaded once. The nuclei
 * of the open image appear at once (save it to keep them), those of the others are saved. Run > Run for project
 * does the same for the whole project at its first image, and brings nuclei into the images that you chose.
 *
 * Options (change them here, between the lines):
 * ---------------------------------------------------------------------------------------------- */
def model = ""          // the model (a folder NAME.cgn); empty: the one that comes with CellGenNet
def within = ""         // only inside annotations of this class, e.g. "Tumor"; empty: everywhere
def cells = ""          // grow nuclei into cells by so many micrometres, e.g. "5"; empty: nuclei only
def existing = ""       // detections already there: "replace-own" (or empty) replaces those of earlier runs,
                        // "replace-all" all detections, "keep" none; annotations always stay
def images = []         // only images whose name matches, e.g. ["*HE*", "slide 3*"]; empty: all
def moreOptions = []    // anything else that `cellgennet segment --help` tells of, e.g. ["--mpp", "0.25"]
/* ----------------------------------------------------------------------------------------------
 * Annotations, and detections of other tools, are not touched (unless you choose "replace-all").
 * To stop: Run > Kill running script. The next run goes on where this one was.
 *
 * Last tested on QuPath 0.5.1 and 0.7.0.
 */

def home = new File(System.getenv("CELLGENNET_HOME") ?: System.getProperty("user.home") + "/.cellgennet")
if (!new File(home, "library.groovy").isFile())
    throw new IllegalStateException("CellGenNet: not set up on this computer. Run 'cellgennet groovy install' in a terminal once.")
def cellgennet = new GroovyClassLoader(getClass().getClassLoader()).parseClass(new File(home, "library.groovy"))
    .getConstructor(File, Script).newInstance(home, this)

def more = cellgennet.option("moreOptions", moreOptions)
for (def given : [["--cells", cellgennet.option("cells", cells)], ["--existing", cellgennet.option("existing", existing)]])
    if (given[1])
        more += given
model = cellgennet.option("model", model)
within = cellgennet.option("within", within)

def entry = getProjectEntry()
if (cellgennet.batchIndex == 0) {
    System.setProperty("cellgennet.done", "")
    def done = cellgennet.withOpenAnnotations { cellgennet.segment(cellgennet.option("images", images), model, within, more) }
    System.setProperty("cellgennet.done", done.join(" "))
}
def done = System.getProperty("cellgennet.done", "").split(" ") as Set
if (entry != null && done.contains(entry.getID()))
    cellgennet.say(cellgennet.bringIn(entry, getCurrentImageData(), "") + " nuclei in " + entry.getImageName() + ".")
// In a "Run for project" QuPath saves each image by itself.
if (cellgennet.batchSize == 1)
    cellgennet.bringInto(done - entry?.getID())
