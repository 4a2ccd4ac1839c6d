/*
 * Train a CellGenNet model on the annotations of the project.
 *
 * When to use it: after you have outlined every nucleus inside a few rectangles of class "Training" (see the
 * tutorial).
 * How to run it: Run > Run, once. It uses the annotations of the open image as they are on the screen, and those
 * of the other images as last saved. Training takes minutes to hours; the log shows the progress.
 *
 * Options (edit the values between the two dashed lines):
 *
 * model        the model bundle to write: a folder, inside the project unless you give a full path
 * config       a YAML file of settings (docs/configuration.md); empty: the defaults
 * resume       true: continue a training that was stopped
 * moreOptions  any other options listed by `cellgennet train --help`, e.g. ["--init", "none"]
 * ---------------------------------------------------------------------------------------------- */
def model = "cellgennet/model.cgn"
def config = ""
def resume = false
def moreOptions = []
/* ----------------------------------------------------------------------------------------------
 * To stop: Run > Kill running script. To continue, set "resume" to true and run the script again.
 *
 * Last tested on QuPath 0.5.1 and 0.7.0.
 */

def home = new File(System.getenv("CELLGENNET_HOME") ?: System.getProperty("user.home") + "/.cellgennet")
if (!new File(home, "library.groovy").isFile())
    throw new IllegalStateException("CellGenNet: not set up on this computer. Run 'cellgennet groovy install' in a terminal once.")
def cellgennet = new GroovyClassLoader(getClass().getClassLoader()).parseClass(new File(home, "library.groovy"))
    .getConstructor(File, Script).newInstance(home, this)

cellgennet.train([model: model, config: config, resume: resume, moreOptions: moreOptions])
