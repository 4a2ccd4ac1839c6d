/*
 * Finds every nucleus of the open image with CellGenNet.
 *
 * When to use it: to try a model on one image (Run > Run). The annotations count as they are on the screen,
 * saved or not, and the nuclei appear at once; save the image (File > Save) to keep them. For many images
 * use "cellgennet_segment_project.groovy", which loads the model once and not for each of them.
 *
 * Options (change them here, between the lines):
 * ---------------------------------------------------------------------------------------------- */
def model = ""          // the model (a folder NAME.cgn); empty: the one that comes with CellGenNet
def within = ""         // only inside annotations of this class, e.g. "Tumor"; empty: everywhere
def cells = ""          // grow nuclei into cells by so many micrometres, e.g. "5"; empty: nuclei only
def existing = ""       // detections already there: "replace-own" (or empty) replaces those of earlier runs,
                        // "replace-all" all detections, "keep" none; annotations always stay
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

if (cellgennet.batchSize > 1)
    throw new IllegalStateException("CellGenNet: this script is for the open image. For many, run cellgennet_segment_project.groovy.")
def entry = getProjectEntry()
if (entry == null)
    throw new IllegalStateException("CellGenNet: open an image of a project first.")
def more = cellgennet.option("moreOptions", moreOptions)
for (def given : [["--cells", cellgennet.option("cells", cells)], ["--existing", cellgennet.option("existing", existing)]])
    if (given[1])
        more += given
model = cellgennet.option("model", model)
within = cellgennet.option("within", within)

def done = cellgennet.withOpenAnnotations { cellgennet.segment([entry.getID()], model, within, more) }
if (done.contains(entry.getID()))
    cellgennet.say(cellgennet.bringIn(entry, getCurrentImageData(), "") + " nuclei in " + entry.getImageName() + ". Save the image to keep them.")
