/*
 * Finds every nucleus of every image of the open project with CellGenNet.
 *
 * Run it once (Run > Run), not "for project": it does all images in one go, so that the model is loaded once.
 * Save your annotations first (File > Save). When it has ended, run "cellgennet_import_detections.groovy" for the
 * project: that brings the nuclei into each image.
 *
 * Options (change them here, between the lines):
 * ---------------------------------------------------------------------------------------------- */
def python = ""          // the Python that CellGenNet is installed in, e.g. "C:/Users/me/cellgennet-env/Scripts/python.exe";
                         // empty: what the environment variable CELLGENNET_PYTHON says, else "python"
def model = ""           // the model bundle (a folder NAME.cgn); empty: the one that comes with CellGenNet
def within = ""          // only inside annotations of this class, e.g. "Tumor"; empty: everywhere
def moreOptions = []     // anything else `cellgennet segment --help` tells of, e.g. ["--mpp", "0.25"]
/* ----------------------------------------------------------------------------------------------
 * Last tested on QuPath 0.5.1 and 0.7.0.
 */

if (getProject() == null)
    throw new IllegalStateException("CellGenNet: open a project first.")
// From the command line (QuPath script --args ...) options can be given as name=value.
def given = ((binding.hasVariable("args") ? args : null) ?: []).collectEntries { def pair = it.split("=", 2) as List; [pair[0], pair[1]] }
python = given.python ?: python ?: System.getenv("CELLGENNET_PYTHON") ?: "python"
model = given.model ?: model
within = given.within ?: within

// A list, never one line of text: spaces and umlauts in folder names need no quoting then.
def command = [python, "-m", "cellgennet_qupath", "segment", buildFilePath(PROJECT_BASE_DIR), "--backend", "files"]
if (model)
    command += ["-m", model]
if (within)
    command += ["--within", within]
command += moreOptions

def builder = new ProcessBuilder(command as List<String>).redirectErrorStream(true)
builder.environment().put("PYTHONIOENCODING", "utf-8")
def process
try {
    process = builder.start()
} catch (IOException e) {
    // Without its cause, which QuPath would show in the place of this line.
    throw new IllegalStateException("CellGenNet: cannot start '${python}' (${e.getMessage()}). Name the Python of CellGenNet at the top of this script.")
}
def last = ""
try {
    process.getInputStream().withReader("UTF-8") { reader ->
        reader.eachLine { line ->
            println line
            if (line.startsWith("Error"))
                last = line
            if (Thread.currentThread().isInterrupted())
                throw new InterruptedException()
        }
    }
} catch (InterruptedException e) {
    process.destroy()
    println "CellGenNet: stopped. Run the script again to go on where it was."
    return
}
def code = process.waitFor()
if (code == 3)
    println "CellGenNet: some images failed (see above); the others are done."
else if (code != 0)
    throw new IllegalStateException("CellGenNet: " + (last ?: "ended with code ${code}, see the lines above"))
println "CellGenNet: done. Now run cellgennet_import_detections.groovy for the project."
