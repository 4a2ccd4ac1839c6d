/*
 * Suggest where to annotate next: windows whose outlines would teach a model most.
 *
 * When to use it: before you annotate, and again after each training, with the new model.
 * How to run it: Run > Run, once. It uses the annotations of the open image as they are on the screen, and those
 * of the other images as last saved. The suggestions appear in the open image at once (save it to keep them) and
 * are saved in the other images. They are locked annotations of class "Suggested"; the reason is in the
 * description. To use one, outline every nucleus in it, then set its class to "Training".
 *
 * Options (edit the values between the two dashed lines):
 *
 * model        the model bundle, a folder NAME.cgn; empty: the pretrained model that comes with CellGenNet
 * count        how many windows, in all images together
 * size         side of a window in pixels of 0.25 micrometres (160 are 40 micrometres)
 * images       only images whose name matches, e.g. ["*HE*", "slide 3*"]; empty: all images
 * moreOptions  any other options listed by `cellgennet suggest --help`, e.g. ["--seed", "1"]
 * ---------------------------------------------------------------------------------------------- */
def model = ""
def count = "10"
def size = "160"
def images = []
def moreOptions = []
/* ----------------------------------------------------------------------------------------------
 * Earlier suggestions are replaced, unless you have unlocked them, changed their class or begun to annotate in
 * them. Other annotations are never changed.
 *
 * Last tested on QuPath 0.5.1 and 0.7.0.
 */

def home = new File(System.getenv("CELLGENNET_HOME") ?: System.getProperty("user.home") + "/.cellgennet")
if (!new File(home, "library.groovy").isFile())
    throw new IllegalStateException("CellGenNet: not set up on this computer. Run 'cellgennet groovy install' in a terminal once.")
def cellgennet = new GroovyClassLoader(getClass().getClassLoader()).parseClass(new File(home, "library.groovy"))
    .getConstructor(File, Script).newInstance(home, this)

cellgennet.suggest([model: model, count: count, size: size, images: images, moreOptions: moreOptions])
