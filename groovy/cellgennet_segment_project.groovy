/*
 * Segment every nucleus of every image of the project with CellGenNet.
 *
 * When to use it: to segment several images. The model is loaded only once.
 * How to run it: Run > Run segments all images, open or not. The nuclei of an open image appear at once (save it
 * to keep them); the other images are saved, one after the other. Run > Run for project segments the images that
 * you select there and no others, as does "QuPath script" on the command line.
 *
 * Options (edit the values between the two dashed lines):
 *
 * model        the model bundle, a folder NAME.cgn; empty: the pretrained model that comes with CellGenNet
 * within       only inside annotations of this class, e.g. "Tumor"; empty: the whole image
 * cells        expand nuclei into cells by up to this many micrometres, e.g. "5"; empty: nuclei only
 * existing     what happens to detections that are already in the image:
 *              "replace-own" replaces only nuclei from earlier runs,
 *              "replace-all" removes every detection and cell (no tiles, no points),
 *              "keep"        removes none
 * images       in Run > Run, only images of these names, e.g. ["*HE*", "slide 3*"]; empty: all images
 * moreOptions  any other options listed by `cellgennet segment --help`, e.g. ["--mpp", "0.25"]
 * ---------------------------------------------------------------------------------------------- */
def model = ""
def within = ""
def cells = ""
def existing = "replace-own"
def images = []
def moreOptions = []
/* ----------------------------------------------------------------------------------------------
 * Annotations are never changed, and detections of other tools only by "replace-all".
 * To stop: Run > Kill running script. To continue, run the script again.
 *
 * Last tested on QuPath 0.5.1 and 0.7.0.
 */

def home = new File(System.getenv("CELLGENNET_HOME") ?: System.getProperty("user.home") + "/.cellgennet")
if (!new File(home, "library.groovy").isFile())
    throw new IllegalStateException("CellGenNet: not set up on this computer. Run 'cellgennet groovy install' in a terminal once.")
def cellgennet = new GroovyClassLoader(getClass().getClassLoader()).parseClass(new File(home, "library.groovy"))
    .getConstructor(File, Script).newInstance(home, this)

cellgennet.segmentProject([model: model, within: within, cells: cells, existing: existing, images: images, moreOptions: moreOptions])
