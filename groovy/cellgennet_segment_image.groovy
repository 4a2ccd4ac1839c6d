/*
 * Segment every nucleus of the open image with CellGenNet.
 *
 * When to use it: to try a model on one image. For several images use "cellgennet_segment_project.groovy", which
 * loads the model only once.
 * How to run it: Run > Run. It uses the annotations on the screen, saved or not. The nuclei appear at once; save
 * the image (File > Save) to keep them.
 *
 * Options (edit the values between the two dashed lines):
 *
 * model        the model bundle, a folder NAME.cgn; empty: the pretrained model that comes with CellGenNet
 * within       only inside annotations of this class, e.g. "Tumor"; empty: the whole image
 * selected     true: only inside the annotations that are selected in the viewer
 * cells        expand nuclei into cells by up to this many micrometres, e.g. "5"; empty: nuclei only
 * existing     what happens to detections that are already in the image:
 *              "replace-own" replaces only nuclei from earlier runs,
 *              "replace-all" removes every detection and cell (no tiles, no points),
 *              "keep"        removes none
 * moreOptions  any other options listed by `cellgennet segment --help`, e.g. ["--mpp", "0.25"]
 * ---------------------------------------------------------------------------------------------- */
def model = ""
def within = ""
def selected = false
def cells = ""
def existing = "replace-own"
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

cellgennet.segmentImage([model: model, within: within, selected: selected, cells: cells, existing: existing, moreOptions: moreOptions])
