/*
 * Brings the nuclei that CellGenNet found into an image.
 *
 * When to use it: after `cellgennet segment` on a computer without QuPath (a cluster, say), which leaves one
 * file for each image in the folder "cellgennet/detections" of the project. Run it for the open image (Run > Run), or for
 * many images (Run > Run for project); QuPath then saves each of them.
 *
 * Options (change them here, between the lines):
 * ---------------------------------------------------------------------------------------------- */
def existing = ""       // detections already there: "replace-own" replaces those of earlier runs, "replace-all" all
                        // detections, "keep" none; empty: as the segmentation was told
/* ----------------------------------------------------------------------------------------------
 * Annotations, and detections of other tools, are not touched (unless you choose "replace-all").
 *
 * Last tested on QuPath 0.5.1 and 0.7.0.
 */

def home = new File(System.getenv("CELLGENNET_HOME") ?: System.getProperty("user.home") + "/.cellgennet")
if (!new File(home, "library.groovy").isFile())
    throw new IllegalStateException("CellGenNet: not set up on this computer. Run 'cellgennet groovy install' in a terminal once.")
def cellgennet = new GroovyClassLoader(getClass().getClassLoader()).parseClass(new File(home, "library.groovy"))
    .getConstructor(File, Script).newInstance(home, this)

def entry = getProjectEntry()
if (entry == null)
    throw new IllegalStateException("CellGenNet: open an image of a project first.")
if (cellgennet.detectionsFile(entry).toFile().exists())
    cellgennet.say(cellgennet.bringIn(entry, getCurrentImageData(), cellgennet.option("existing", existing)) + " nuclei brought into " + entry.getImageName() + ".")
else
    cellgennet.say("no nuclei for ${entry.getImageName()} (there is no ${cellgennet.detectionsFile(entry)}). Run cellgennet segment first.")
