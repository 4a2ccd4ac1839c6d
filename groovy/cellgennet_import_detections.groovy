/*
 * Brings the nuclei that CellGenNet found into the open image.
 *
 * When to use it: after `cellgennet segment PROJECT --backend files`, which leaves one file for each image
 * in the folder "cellgennet/detections" of the project. Run it for the open image (Run > Run), or for many
 * images at once (Run > Run for project); QuPath then saves each image.
 *
 * Options (change them here, between the lines):
 * ---------------------------------------------------------------------------------------------- */
def replaceEarlier = true   // true: nuclei that an earlier run brought in are removed first; false: kept
/* ----------------------------------------------------------------------------------------------
 * Annotations, and detections of other tools, are never touched: an earlier nucleus of ours is a detection
 * that has the measurement "Detection probability" and a class that is in the new file.
 *
 * Last tested on QuPath 0.5.1 and 0.7.0.
 */

import qupath.lib.io.PathIO

import java.nio.file.Files
import java.nio.file.Path

def entry = getProjectEntry()
if (entry == null)
    throw new IllegalStateException("CellGenNet: open an image of a project first.")

def file = Path.of(buildFilePath(PROJECT_BASE_DIR), "cellgennet", "detections", entry.getID() + ".geojson.gz")
if (!Files.exists(file)) {
    println "CellGenNet: no nuclei for ${entry.getImageName()} (there is no ${file}). Run cellgennet segment first."
    return
}

def found = PathIO.readObjects(file)
def classes = found.collect { it.getPathClass() } as Set
if (replaceEarlier) {
    def earlier = getDetectionObjects().findAll {
        it.getMeasurementList().containsKey("Detection probability") && classes.contains(it.getPathClass())
    }
    removeObjects(earlier, true)
    if (earlier)
        println "CellGenNet: ${earlier.size()} nuclei of an earlier run removed."
}
addObjects(found)
fireHierarchyUpdate()
println "CellGenNet: ${found.size()} nuclei brought into ${entry.getImageName()}."
