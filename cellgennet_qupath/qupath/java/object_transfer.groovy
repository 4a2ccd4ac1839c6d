// Runs inside QuPath's Java, where calls from Python would be too slow or are impossible.
// Compiled by QuPath's own Groovy (4 and 5) against the installed QuPath.

import groovy.transform.CompileStatic
import java.awt.image.BufferedImage
import java.nio.file.Files
import java.nio.file.Path
import org.locationtech.jts.geom.Coordinate
import org.locationtech.jts.geom.prep.PreparedGeometryFactory
import org.locationtech.jts.io.WKBReader
import org.locationtech.jts.io.WKBWriter
import org.locationtech.jts.io.WKTReader
import qupath.lib.images.ImageData
import qupath.lib.io.GsonTools
import qupath.lib.geom.Point2
import qupath.lib.io.PathIO
import qupath.lib.measurements.MeasurementList
import qupath.lib.measurements.MeasurementList.MeasurementListType
import qupath.lib.measurements.MeasurementListFactory
import qupath.lib.objects.PathAnnotationObject
import qupath.lib.objects.PathCellObject
import qupath.lib.objects.PathObject
import qupath.lib.objects.PathObjectTools
import qupath.lib.objects.PathObjects
import qupath.lib.objects.classes.PathClass
import qupath.lib.objects.hierarchy.PathObjectHierarchy
import qupath.lib.plugins.workflow.DefaultScriptableWorkflowStep
import qupath.lib.plugins.workflow.Workflow
import qupath.lib.regions.ImagePlane
import qupath.lib.roi.GeometryTools
import qupath.lib.roi.PolygonROI
import qupath.lib.roi.ROIs
import qupath.lib.roi.interfaces.ROI

/** Transfers many objects at once between Python and a hierarchy, and a hierarchy from and to a file. */
@CompileStatic
class ObjectTransfer {

    /** An image's data, read without opening the image; new and empty without a file. */
    static ImageData<BufferedImage> read(Path file, PlaceholderServer server) {
        if (file == null)
            return new ImageData<BufferedImage>(server)
        def data = PathIO.readImageData(file, null, server, BufferedImage.class)
        Workflow history = history(file)
        if (history != null) {
            // While reading, QuPath 0.7 adds steps for the image's type and stains to the history.
            data.getHistoryWorkflow().clear()
            data.getHistoryWorkflow().addSteps(history.getSteps())
        }
        return data
    }

    private static Workflow history(Path file) {
        Workflow found = null
        new ObjectInputStream(new BufferedInputStream(Files.newInputStream(file))).withCloseable { ObjectInputStream stream ->
            stream.readUTF()
            Object item = stream.readObject()
            while (item != "EOF" && !(item instanceof Workflow) && !(item instanceof PathObjectHierarchy))
                item = stream.readObject()
            if (item instanceof Workflow)
                found = (Workflow) item
        }
        return found
    }

    /** Write an image's data to a file that no other process uses. */
    static void write(ImageData<BufferedImage> data, Path file) {
        new BufferedOutputStream(new FileOutputStream(file.toFile()), 1 << 20).withCloseable { OutputStream stream ->
            PathIO.writeImageData(stream, data)
        }
    }

    /** The content of summary.json, which QuPath keeps beside an image's data. Its class is not public. */
    static String summary(ImageData<BufferedImage> data, long timestamp) {
        def type = Class.forName("qupath.lib.projects.DefaultProject\$ImageDataSummary")
        def constructor = type.getDeclaredConstructor(ImageData.class, long.class)
        constructor.setAccessible(true)
        return GsonTools.getInstance().toJson(constructor.newInstance(data, timestamp))
    }

    /**
     * Remove objects; their child objects move up one level. Returns how many were removed.
     *
     * which  see ObjectFilter.
     */
    static int remove(ImageData<BufferedImage> data, String which, Collection<UUID> ids) {
        return removeBelow(data.getHierarchy().getRootObject(), new ObjectFilter(which, ids))
    }

    private static int removeBelow(PathObject parent, ObjectFilter filter) {
        int removed = 0
        boolean changed = false
        List<PathObject> kept = new ArrayList<PathObject>()
        for (PathObject child : parent.getChildObjectsAsArray()) {
            removed += removeBelow(child, filter)
            if (filter.accepts(child)) {
                removed++
                changed = true
                List<PathObject> orphans = Arrays.asList(child.getChildObjectsAsArray())
                child.clearChildObjects()
                kept.addAll(orphans)
            } else {
                kept.add(child)
            }
        }
        if (changed) {
            parent.clearChildObjects()
            parent.addChildObjects(kept)
        }
        return removed
    }

    /**
     * The ids of the detections that a filter selects and whose nucleus has its centroid outside an area of the
     * first plane (well-known binary); its border is inside.
     */
    static List<UUID> outside(PathObjectHierarchy hierarchy, String which, byte[] area) {
        def filter = new ObjectFilter(which, new ArrayList<UUID>())
        def factory = GeometryTools.getDefaultFactory()
        def checked = PreparedGeometryFactory.prepare(new WKBReader(factory).read(area))
        List<UUID> found = new ArrayList<UUID>()
        for (PathObject detection : hierarchy.getDetectionObjects()) {
            ROI roi = PathObjectTools.getROI(detection, true)
            boolean inside = roi != null && roi.getZ() == 0 && roi.getT() == 0 &&
                checked.intersects(factory.createPoint(new Coordinate(roi.getCentroidX(), roi.getCentroidY())))
            if (!inside && filter.accepts(detection))
                found.add(detection.getID())
        }
        return found
    }

    /** The ids of all objects of an image, one per line. */
    static String ids(ImageData<BufferedImage> data) {
        StringBuilder found = new StringBuilder()
        for (PathObject object : data.getHierarchy().getFlattenedObjectList(null))
            found.append(object.getID()).append("\n")
        return found.toString()
    }

    /** Ids from text, one per line. */
    static List<UUID> parse(String lines) {
        List<UUID> ids = new ArrayList<UUID>()
        for (String line : lines.split("\n"))
            if (!line.isEmpty())
                ids.add(UUID.fromString(line))
        return ids
    }

    /** The detections that this tool wrote, in QuPath's order. */
    static List<PathObject> own(PathObjectHierarchy hierarchy) {
        List<PathObject> found = new ArrayList<PathObject>()
        for (PathObject detection : hierarchy.getDetectionObjects())
            if (ObjectFilter.isOwn(detection.getID()))
                found.add(detection)
        return found
    }

    /** Detections and cells that have an area, whoever made them, in QuPath's order. */
    static List<PathObject> nuclei(PathObjectHierarchy hierarchy) {
        List<PathObject> found = new ArrayList<PathObject>()
        for (PathObject detection : hierarchy.getDetectionObjects())
            if (ObjectFilter.isNucleus(detection))
                found.add(detection)
        return found
    }

    /**
     * Other columns of QuPath's own table, and the ids of the annotations or cores above: {names, names of ROIs,
     * parents, ids}, one object per line.
     */
    static String[] labels(List<PathObject> objects) {
        StringBuilder names = new StringBuilder()
        StringBuilder shapes = new StringBuilder()
        StringBuilder parents = new StringBuilder()
        StringBuilder above = new StringBuilder()
        for (PathObject object : objects) {
            names.append((object.getName() ?: "").replace("\n", " ")).append("\n")
            shapes.append(object.getROI().getRoiName()).append("\n")
            PathObject parent = object.getParent()
            parents.append((parent == null ? "" : parent.getDisplayedName()).replace("\n", " ")).append("\n")
            while (parent != null && !parent.isAnnotation() && !parent.isTMACore())
                parent = parent.getParent()
            above.append(parent == null ? "" : parent.getID().toString()).append("\n")
        }
        return [names.toString(), shapes.toString(), parents.toString(), above.toString()] as String[]
    }

    /**
     * Detections as columns: {ids, classes, names of measurements} one per line, {values}, {z and t}, and the
     * outlines of nuclei and of cells (see outlines; an object without a cell has no points there).
     */
    static Object[] table(List<PathObject> objects) {
        Map<String, Integer> columns = new LinkedHashMap<String, Integer>()
        for (PathObject object : objects)
            for (String name : object.getMeasurementList().getMeasurementNames())
                columns.putIfAbsent(name, columns.size())
        StringBuilder ids = new StringBuilder()
        StringBuilder classes = new StringBuilder()
        double[] values = new double[objects.size() * columns.size()]
        int[] planes = new int[2 * objects.size()]
        List<ROI> nuclei = new ArrayList<ROI>(objects.size())
        List<ROI> cells = new ArrayList<ROI>(objects.size())
        Arrays.fill(values, Double.NaN)
        int row = 0
        for (PathObject object : objects) {
            PathClass pathClass = object.getPathClass()
            ids.append(object.getID()).append("\n")
            classes.append(pathClass == null ? "" : pathClass.toString()).append("\n")
            MeasurementList measured = object.getMeasurementList()
            List<String> names = measured.getMeasurementNames()
            double[] given = measured.values()
            for (int j = 0; j < given.length; j++)
                values[row * columns.size() + columns.get(names.get(j))] = given[j]
            ROI roi = object.getROI()
            planes[2 * row] = roi.getZ()
            planes[2 * row + 1] = roi.getT()
            ROI nucleus = object instanceof PathCellObject ? ((PathCellObject) object).getNucleusROI() : null
            nuclei.add(nucleus == null ? roi : nucleus)
            cells.add(nucleus == null ? null : roi)
            row++
        }
        return [ids.toString(), classes.toString(), String.join("\n", columns.keySet()), values, planes,
                outlines(nuclei), outlines(cells)] as Object[]
    }

    /** x, y: all outlines in turn; ends: where each ends; others: rows whose outline is in shapes, as WKB. */
    private static Object[] outlines(List<ROI> rois) {
        WKBWriter writer = new WKBWriter(2)
        List<byte[]> shapes = new ArrayList<byte[]>()
        List<Integer> others = new ArrayList<Integer>()
        int[] ends = new int[rois.size()]
        int total = 0
        for (ROI roi : rois)
            total += roi == null ? 0 : roi.getNumPoints()
        double[] x = new double[total]
        double[] y = new double[total]
        int end = 0
        for (int i = 0; i < rois.size(); i++) {
            ROI roi = rois.get(i)
            if (roi instanceof PolygonROI) {
                for (Point2 point : roi.getAllPoints()) {
                    x[end] = point.getX()
                    y[end++] = point.getY()
                }
            } else if (roi != null) {
                shapes.add(writer.write(roi.getGeometry()))
                others.add(i)
            }
            ends[i] = end
        }
        return [Arrays.copyOf(x, end), Arrays.copyOf(y, end), ends, others as int[], shapes as byte[][]] as Object[]
    }

    /**
     * Make detections, or cells where there are outlines of cells.
     *
     * ids      one per line.
     * classes  index into the palette for each detection, -1 for none.
     * planes   z and t of each detection.
     * values   measurements by detection, then by name; NaN for none.
     */
    static List<PathObject> make(Outlines nuclei, Outlines cells, String ids, PathClass[] palette, int[] classes,
                                 int[] planes, String[] names, double[] values) {
        List<UUID> identifiers = parse(ids)
        List<PathObject> detections = new ArrayList<PathObject>(classes.length)
        for (int i = 0; i < classes.length; i++) {
            ImagePlane plane = ImagePlane.getPlane(planes[2 * i], planes[2 * i + 1])
            def measurements = MeasurementListFactory.createMeasurementList(names.length, MeasurementListType.FLOAT)
            for (int j = 0; j < names.length; j++) {
                double value = values[i * names.length + j]
                if (!Double.isNaN(value))
                    measurements.put(names[j], value)
            }
            measurements.close()
            PathClass pathClass = classes[i] < 0 ? null : palette[classes[i]]
            ROI nucleus = nuclei.next(plane)
            ROI cell = cells == null ? null : cells.next(plane)
            PathObject detection = cell == null ? PathObjects.createDetectionObject(nucleus, pathClass, measurements)
                                                : PathObjects.createCellObject(cell, nucleus, pathClass, measurements)
            detection.setID(identifiers.get(i))
            detections.add(detection)
        }
        return detections
    }

    /** Add detections to parents with the given ids, one per line, "" for none. Returns how many parents are missing. */
    static int add(ImageData<BufferedImage> data, List<PathObject> detections, String parents) {
        PathObject root = data.getHierarchy().getRootObject()
        Map<String, PathObject> known = new HashMap<String, PathObject>()
        for (PathObject annotation : data.getHierarchy().getAnnotationObjects())
            known.put(annotation.getID().toString(), annotation)
        if (data.getHierarchy().getTMAGrid() != null)
            for (PathObject core : data.getHierarchy().getTMAGrid().getTMACoreList())
                known.put(core.getID().toString(), core)
        Map<PathObject, List<PathObject>> families = new LinkedHashMap<PathObject, List<PathObject>>()
        String[] lines = parents.split("\n", -1)
        int orphans = 0
        for (int i = 0; i < detections.size(); i++) {
            String wanted = i < lines.length ? lines[i] : ""
            PathObject parent = wanted.isEmpty() ? root : known.get(wanted)
            if (parent == null) {
                parent = root
                orphans++
            }
            families.computeIfAbsent(parent, { PathObject any -> new ArrayList<PathObject>() }).add(detections.get(i))
        }
        for (Map.Entry<PathObject, List<PathObject>> family : families.entrySet())
            family.getKey().addChildObjects(family.getValue())
        return orphans
    }

    /**
     * Add locked annotations of a class.
     *
     * ids, reasons  of each, one per line; the reason is its description.
     * boxes         x0, y0, x1 and y1 of each.
     */
    static void addSuggestions(ImageData<BufferedImage> data, String ids, double[] boxes, String reasons, PathClass pathClass) {
        List<UUID> identifiers = parse(ids)
        String[] texts = reasons.split("\n", -1)
        List<PathObject> suggestions = new ArrayList<PathObject>()
        for (int i = 0; i < identifiers.size(); i++) {
            double x = boxes[4 * i]
            double y = boxes[4 * i + 1]
            ROI roi = ROIs.createRectangleROI(x, y, boxes[4 * i + 2] - x, boxes[4 * i + 3] - y, ImagePlane.getDefaultPlane())
            PathAnnotationObject suggestion = (PathAnnotationObject) PathObjects.createAnnotationObject(roi, pathClass)
            suggestion.setID(identifiers.get(i))
            suggestion.setDescription(texts[i])
            suggestion.setLocked(true)
            suggestions.add(suggestion)
        }
        data.getHierarchy().getRootObject().addChildObjects(suggestions)
    }

    /** Append a step to an image's history, unless the last step is equal. */
    static void addStep(ImageData<BufferedImage> data, String name, Map<String, String> parameters) {
        String comment = parameters.collect { String key, String value -> "// " + name + " - " + key + ": " + value }.join("\n")
        def step = new DefaultScriptableWorkflowStep(name, new LinkedHashMap<String, String>(parameters), comment)
        def last = data.getHistoryWorkflow().getLastStep()
        if (last == null || last.toString() != step.toString() || last.getParameterMap() != step.getParameterMap())
            data.getHistoryWorkflow().addStep(step)
    }
}

/** All outlines in turn: x, y, where each ends, and well-known binary of those that are not simple. */
@CompileStatic
class Outlines {

    private final double[] x
    private final double[] y
    private final int[] ends
    private final byte[][] shapes
    private final WKBReader reader = new WKBReader(GeometryTools.getDefaultFactory())
    private int row = 0

    /** Whether this QuPath keeps the point that closes a ring when it imports one (0.7 does, 0.5 does not). */
    private static final boolean CLOSES = ((PolygonROI) GeometryTools.geometryToROI(
        new WKTReader(GeometryTools.getDefaultFactory()).read("POLYGON ((0 0, 9 0, 0 9, 0 0))"), ImagePlane.getDefaultPlane()
    )).getNumPoints() == 4

    Outlines(double[] x, double[] y, int[] ends, byte[][] shapes) {
        this.x = x
        this.y = y
        this.ends = ends
        this.shapes = shapes
    }

    /** The next outline; null where there is none. */
    ROI next(ImagePlane plane) {
        int start = row == 0 ? 0 : ends[row - 1]
        int end = ends[row]
        byte[] shape = shapes[row]
        row++
        if (shape != null)
            return GeometryTools.geometryToROI(reader.read(shape), plane)
        if (start == end)
            return null
        int last = CLOSES ? end : end - 1
        return ROIs.createPolygonROI(Arrays.copyOfRange(x, start, last), Arrays.copyOfRange(y, start, last), plane)
    }
}
