// Runs inside QuPath's Java, where calls from Python would be too slow or are impossible.
// Compiled by QuPath's own Groovy (4 and 5) against the installed QuPath.

import groovy.transform.CompileStatic
import java.awt.image.BufferedImage
import qupath.lib.images.ImageData
import qupath.lib.geom.Point2
import qupath.lib.measurements.MeasurementList
import qupath.lib.objects.PathCellObject
import qupath.lib.objects.PathDetectionObject
import qupath.lib.objects.PathObject
import qupath.lib.objects.classes.PathClass
import qupath.lib.objects.hierarchy.PathObjectHierarchy
import qupath.lib.plugins.workflow.WorkflowStep
import qupath.lib.roi.interfaces.ROI

/**
 * Selects detections: "own" (of this tool), "all" nuclei or "" for none, and those with the given ids;
 * "annotations": annotations with the given ids and nothing else.
 */
@CompileStatic
class ObjectFilter {

    private final boolean all
    private final boolean own
    private final boolean annotations
    private final Set<UUID> ids

    ObjectFilter(String which, Collection<UUID> ids) {
        this.all = which == "all"
        this.own = which == "own"
        this.annotations = which == "annotations"
        this.ids = new HashSet<UUID>(ids)
    }

    /** The mark of this tool's ids, see own_id in nuclei.py. */
    static boolean isOwn(UUID id) {
        return (id.getMostSignificantBits() >>> 32) == 0xce119e00L && ((id.getMostSignificantBits() >>> 12) & 15L) == 8L
    }

    /** A detection or cell with an area: what this tool reads, and so can keep a copy of. Not a tile or a point. */
    static boolean isNucleus(PathObject object) {
        boolean plain = object.getClass() == PathDetectionObject || object.getClass() == PathCellObject
        return plain && object.getROI() != null && object.getROI().isArea()
    }

    boolean accepts(PathObject object) {
        if (annotations)
            return object.isAnnotation() && ids.contains(object.getID())
        return object.isDetection() && (all && isNucleus(object) || own && isOwn(object.getID()) || ids.contains(object.getID()))
    }
}

/** Checksums by which two hierarchies are compared without keeping both in memory. */
@CompileStatic
class HierarchyChecksum {

    /** An image's type, names of stains, first steps of its history, and properties, as text. */
    static String settings(ImageData<BufferedImage> data, int steps) {
        StringBuilder text = new StringBuilder()
        text.append(data.getImageType()).append("\n")
        def stains = data.getColorDeconvolutionStains()
        for (int n = 1; stains != null && n <= 3; n++)
            text.append(stains.getStain(n).getName()).append("\n")
        for (WorkflowStep step : data.getHistoryWorkflow().getSteps().subList(0, steps))
            text.append(step).append(step.getParameterMap()).append("\n")
        for (Map.Entry<String, Object> property : new TreeMap<String, Object>(data.getProperties()).entrySet())
            if (property.getValue() instanceof String || property.getValue() instanceof Number)
                text.append(property.getKey()).append("=").append(property.getValue()).append("\n")
        return text.toString()
    }

    /** Background and vectors of an image's stains; empty if none are set. */
    static double[] stains(ImageData<BufferedImage> data) {
        def stains = data.getColorDeconvolutionStains()
        if (stains == null)
            return new double[0]
        List<Double> numbers = [stains.getMaxRed(), stains.getMaxGreen(), stains.getMaxBlue()]
        for (int n = 1; n <= 3; n++)
            for (double part : stains.getStain(n).getArray())
                numbers.add(part)
        return numbers as double[]
    }

    /**
     * Checksums of {annotations, other objects, selected objects}, which do not depend on the order of
     * the objects, and then the number of each.
     */
    static long[] compute(ImageData<BufferedImage> data, String which, Collection<UUID> ids) {
        return new HierarchyChecksum(new ObjectFilter(which, ids)).of(data)
    }

    /** How many detections have exactly the outline, and nucleus, of an earlier one. */
    static int repeated(PathObjectHierarchy hierarchy) {
        Set<Long> seen = new HashSet<Long>()
        int repeated = 0
        for (PathObject object : hierarchy.getDetectionObjects()) {
            if (object.getROI() == null)
                continue
            long key = shape(object.getROI())
            if (object instanceof PathCellObject)
                key = mix(key, shape(((PathCellObject) object).getNucleusROI()))
            if (!seen.add(key))
                repeated++
        }
        return repeated
    }

    private final ObjectFilter filter
    private final long[] result = new long[6]

    HierarchyChecksum(ObjectFilter filter) {
        this.filter = filter
    }

    long[] of(ImageData<BufferedImage> data) {
        visit(data.getHierarchy().getRootObject(), "")
        return result
    }

    private void visit(PathObject object, String parent) {
        String below = parent
        if (!object.isRootObject()) {
            boolean selected = filter.accepts(object)
            int group = selected ? 2 : object.isAnnotation() ? 0 : 1
            result[group] += checksum(object, parent, selected)
            result[group + 3]++
            below = selected ? parent : object.getID().toString()
        }
        for (PathObject child : object.getChildObjectsAsArray())
            visit(child, below)
    }

    private static long checksum(PathObject object, String parent, boolean selected) {
        PathClass pathClass = object.getPathClass()
        long sum = mix(17L, object.getClass().getSimpleName().hashCode())
        sum = mix(sum, object.getID().getMostSignificantBits())
        sum = mix(sum, object.getID().getLeastSignificantBits())
        sum = mix(sum, parent.hashCode())
        sum = mix(sum, pathClass == null ? 0 : pathClass.toString().hashCode())
        sum = mix(sum, object.getName() == null ? 0 : object.getName().hashCode())
        sum = mix(sum, object.getColor() == null ? -1 : object.getColor())
        sum = mix(sum, object.isLocked() ? 1 : 0)
        if (!selected)
            sum = mix(sum, new TreeMap<String, String>(object.getMetadata()).toString().hashCode())
        MeasurementList measured = object.getMeasurementList()
        List<String> names = measured.getMeasurementNames()
        double[] values = measured.values()
        for (int i = 0; i < values.length; i++)
            sum = mix(mix(sum, names.get(i).hashCode()), Float.floatToIntBits((float) values[i]))
        sum = mix(sum, shape(object.getROI()))
        if (object instanceof PathCellObject)
            sum = mix(sum, shape(((PathCellObject) object).getNucleusROI()))
        return sum
    }

    private static long shape(ROI roi) {
        if (roi == null)
            return 0
        long sum = mix(roi.getRoiName().hashCode(), roi.getC())
        sum = mix(mix(sum, roi.getZ()), roi.getT())
        for (Point2 point : roi.getAllPoints())
            sum = mix(mix(sum, Float.floatToIntBits((float) point.getX())), Float.floatToIntBits((float) point.getY()))
        return sum
    }

    private static long mix(long sum, long value) {
        long mixed = (sum ^ value) * 0x9E3779B97F4A7C15L
        return mixed ^ (mixed >>> 29)
    }
}
