/*
 * Trains a CellGenNet model on the annotations of the project.
 *
 * When to use it: after you outlined every nucleus inside a few rectangles of class "Training" (see the
 * tutorial). The annotations of the open image count as they are on the screen, those of other images as saved.
 * Run it once (Run > Run). Training takes minutes to hours; the log tells how it goes.
 *
 * Options (change them here, between the lines):
 * ---------------------------------------------------------------------------------------------- */
def model = "cellgennet/model.cgn"   // the model to write: a folder, inside the project unless you give a full path
def config = ""                      // a file of settings (docs/configuration.md); empty: the defaults
def resume = false                   // true: go on with a training that was stopped
def moreOptions = []                 // anything else that `cellgennet train --help` tells of
/* ----------------------------------------------------------------------------------------------
 * To stop: Run > Kill running script; set "resume" to true to go on where it was.
 *
 * Last tested on QuPath 0.5.1 and 0.7.0.
 */

def home = new File(System.getenv("CELLGENNET_HOME") ?: System.getProperty("user.home") + "/.cellgennet")
if (!new File(home, "library.groovy").isFile())
    throw new IllegalStateException("CellGenNet: not set up on this computer. Run 'cellgennet groovy install' in a terminal once.")
def cellgennet = new GroovyClassLoader(getClass().getClassLoader()).parseClass(new File(home, "library.groovy"))
    .getConstructor(File, Script).newInstance(home, this)

if (cellgennet.batchIndex > 0)
    return  // "Run for project": the first image did it for all
def target = cellgennet.project.resolve(cellgennet.option("model", model))
def arguments = ["train", cellgennet.project, "-o", target]
if (cellgennet.option("config", config))
    arguments += ["-c", cellgennet.option("config", config)]
if (cellgennet.option("resume", resume))
    arguments << "--resume"
cellgennet.withOpenAnnotations { println cellgennet.run(arguments + ["--backend", "files"] + cellgennet.option("moreOptions", moreOptions)) }
cellgennet.say("the model is in ${target}. Name it in cellgennet_segment_image.groovy or cellgennet_segment_project.groovy.")
