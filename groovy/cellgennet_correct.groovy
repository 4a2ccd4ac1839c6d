/*
 * Turn the nuclei in the selected rectangles into annotations, so that you can correct them.
 *
 * When to use it: to correct what a model detected instead of drawing from nothing. Select one or more closed
 * annotations first (for example a rectangle, or a suggestion of class "Suggested").
 * How to run it: Run > Run, for the open image. Every detection or cell whose centre is inside becomes an
 * annotation without a class (of a cell, its nucleus), and the annotation around them gets the class "Training".
 * Then correct: delete what is not a nucleus, redraw what is wrong, outline what is missing. Save the image.
 * To undo it, choose Edit > Undo (which QuPath offers for images with fewer objects than Preferences > Undo/Redo
 * allows).
 *
 * Options (edit the values between the two dashed lines):
 *
 * className    the class that the annotation around them gets:
 *              "Training"    trains models,
 *              "Validation"  shows how good they are
 * ---------------------------------------------------------------------------------------------- */
def className = "Training"
/* ----------------------------------------------------------------------------------------------
 * Nuclei outside the selected annotations are not changed.
 *
 * Last tested on QuPath 0.5.1 and 0.7.0.
 */

def home = new File(System.getenv("CELLGENNET_HOME") ?: System.getProperty("user.home") + "/.cellgennet")
if (!new File(home, "library.groovy").isFile())
    throw new IllegalStateException("CellGenNet: not set up on this computer. Run 'cellgennet groovy install' in a terminal once.")
def cellgennet = new GroovyClassLoader(getClass().getClassLoader()).parseClass(new File(home, "library.groovy"))
    .getConstructor(File, Script).newInstance(home, this)

cellgennet.correct([className: className])
