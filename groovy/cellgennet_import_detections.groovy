/*
 * Import the nuclei that CellGenNet segmented on a computer without QuPath.
 *
 * When to use it: after `cellgennet segment` without QuPath (on a cluster, for example), which writes one file
 * per image to the folder "cellgennet/detections" of the project.
 * How to run it: Run > Run for the open image (then save it), or Run > Run for project for several images, which
 * QuPath then saves.
 *
 * Options (edit the values between the two dashed lines):
 *
 * existing   what happens to detections that are already in the image:
 *            "replace-own" replaces only nuclei from earlier runs,
 *            "replace-all" removes every detection and cell (no tiles, no points),
 *            "keep"        removes none;
 *            empty: the choice made for the segmentation.
 * ---------------------------------------------------------------------------------------------- */
def existing = ""
/* ----------------------------------------------------------------------------------------------
 * Annotations are never changed, and detections of other tools only by "replace-all".
 *
 * Last tested on QuPath 0.5.1 and 0.7.0.
 */

def home = new File(System.getenv("CELLGENNET_HOME") ?: System.getProperty("user.home") + "/.cellgennet")
if (!new File(home, "library.groovy").isFile())
    throw new IllegalStateException("CellGenNet: not set up on this computer. Run 'cellgennet groovy install' in a terminal once.")
def cellgennet = new GroovyClassLoader(getClass().getClassLoader()).parseClass(new File(home, "library.groovy"))
    .getConstructor(File, Script).newInstance(home, this)

cellgennet.importDetections([existing: existing])
