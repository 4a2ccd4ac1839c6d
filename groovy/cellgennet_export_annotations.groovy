/*
 * Writes the annotations of an image where CellGenNet finds them without QuPath.
 *
 * When to use it: before training on a computer without QuPath, with annotations that you did not save, or did
 * save with a QuPath whose files CellGenNet cannot read. Run it for the open image (Run > Run), or for many
 * images (Run > Run for project).
 * The file is "cellgennet/annotations/ID.geojson" in the project; it counts where it is newer than QuPath's own.
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
def count = cellgennet.writeAnnotations(entry, getCurrentImageData())
cellgennet.say(count + " annotations of " + entry.getImageName() + " written to " + cellgennet.annotationsFile(entry) + ".")
