/*
 * Export the annotations of an image for training with CellGenNet on a computer without QuPath.
 *
 * When to use it: before training without QuPath, if the annotations are not saved yet, or were saved by a
 * QuPath version whose files CellGenNet cannot read.
 * How to run it: Run > Run for the open image, or Run > Run for project for several images.
 *
 * It has no options. The file is "cellgennet/annotations/ID.geojson" in the project; CellGenNet uses it if it
 * is newer than QuPath's own data.
 *
 * Last tested on QuPath 0.5.1 and 0.7.0.
 */

def home = new File(System.getenv("CELLGENNET_HOME") ?: System.getProperty("user.home") + "/.cellgennet")
if (!new File(home, "library.groovy").isFile())
    throw new IllegalStateException("CellGenNet: not set up on this computer. Run 'cellgennet groovy install' in a terminal once.")
def cellgennet = new GroovyClassLoader(getClass().getClassLoader()).parseClass(new File(home, "library.groovy"))
    .getConstructor(File, Script).newInstance(home, this)

cellgennet.exportAnnotations()
