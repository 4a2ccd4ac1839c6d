// Runs inside QuPath's Java: what would be too slow, or impossible, call by call from Python.
// Compiled by QuPath's own Groovy (4 and 5) against the QuPath that was found.

import groovy.transform.CompileStatic
import java.awt.image.BufferedImage
import java.nio.file.Path
import org.locationtech.jts.io.WKBReader
import qupath.lib.images.ImageData
import qupath.lib.images.servers.AbstractImageServer
import qupath.lib.images.servers.ImageChannel
import qupath.lib.images.servers.ImageServerBuilder.ServerBuilder
import qupath.lib.images.servers.ImageServerMetadata
import qupath.lib.images.servers.PixelType
import qupath.lib.io.GsonTools
import qupath.lib.io.PathIO
import qupath.lib.measurements.MeasurementList.MeasurementListType
import qupath.lib.measurements.MeasurementListFactory
import qupath.lib.objects.PathObject
import qupath.lib.objects.PathObjects
import qupath.lib.objects.classes.PathClass
import qupath.lib.objects.hierarchy.PathObjectHierarchy
import qupath.lib.regions.ImagePlane
import qupath.lib.regions.RegionRequest
import qupath.lib.roi.GeometryTools
import qupath.lib.roi.ROIs
import qupath.lib.roi.interfaces.ROI

/** Objects in and out of an image's hierarchy, and the hierarchy in and out of a file. */
@CompileStatic
class Bulk {

    /** The data of an image, read without opening the image; new and empty where there is no file. */
    static ImageData<BufferedImage> read(Path file, StandInServer server) {
        if (file == null)
            return new ImageData<BufferedImage>(server)
        return PathIO.readImageData(file, null, server, BufferedImage.class)
    }

    /** Write the data of an image to a file that nobody else uses. */
    static void write(ImageData<BufferedImage> data, Path file) {
        new FileOutputStream(file.toFile()).withCloseable { FileOutputStream stream ->
            PathIO.writeImageData(stream, data)
        }
    }

    /** What QuPath keeps in summary.json beside an image's data. The class is QuPath's and not public. */
    static String summary(ImageData<BufferedImage> data, long timestamp) {
        def type = Class.forName("qupath.lib.projects.DefaultProject\$ImageDataSummary")
        def constructor = type.getDeclaredConstructor(ImageData.class, long.class)
        constructor.setAccessible(true)
        return GsonTools.getInstance().toJson(constructor.newInstance(data, timestamp))
    }

    /** Take objects out by id (one id a line); objects inside them stay, one level up. Returns how many. */
    static int remove(ImageData<BufferedImage> data, String lines) {
        return removeBelow(data.getHierarchy().getRootObject(), parse(lines))
    }

    private static Set<UUID> parse(String lines) {
        Set<UUID> ids = new HashSet<UUID>()
        for (String line : lines.split("\n"))
            if (!line.isEmpty())
                ids.add(UUID.fromString(line))
        return ids
    }

    private static int removeBelow(PathObject parent, Set<UUID> ids) {
        int removed = 0
        List<PathObject> kept = new ArrayList<PathObject>()
        for (PathObject child : parent.getChildObjectsAsArray()) {
            removed += removeBelow(child, ids)
            if (child.isDetection() && ids.contains(child.getID())) {
                removed++
                List<PathObject> orphans = Arrays.asList(child.getChildObjectsAsArray())
                child.clearChildObjects()
                kept.addAll(orphans)
            } else {
                kept.add(child)
            }
        }
        if (removed > 0) {
            parent.clearChildObjects()
            parent.addChildObjects(kept)
        }
        return removed
    }

    /** The detections of some ids (one a line), in QuPath's order. */
    static List<PathObject> find(PathObjectHierarchy hierarchy, String lines) {
        Set<UUID> ids = parse(lines)
        List<PathObject> found = new ArrayList<PathObject>()
        for (PathObject detection : hierarchy.getDetectionObjects())
            if (ids.contains(detection.getID()))
                found.add(detection)
        return found
    }

    /** What a user can change of detections: {ids, classes, names of measurements} one a line, {values}. */
    static Object[] table(List<PathObject> objects) {
        Map<String, Integer> columns = new LinkedHashMap<String, Integer>()
        for (PathObject object : objects)
            for (String name : object.getMeasurements().keySet())
                columns.putIfAbsent(name, columns.size())
        StringBuilder ids = new StringBuilder()
        StringBuilder classes = new StringBuilder()
        double[] values = new double[objects.size() * columns.size()]
        Arrays.fill(values, Double.NaN)
        int start = 0
        for (PathObject object : objects) {
            PathClass pathClass = object.getPathClass()
            ids.append(object.getID()).append("\n")
            classes.append(pathClass == null ? "" : pathClass.toString()).append("\n")
            for (Map.Entry<String, Number> measured : object.getMeasurements().entrySet())
                values[start + columns.get(measured.getKey())] = measured.getValue().doubleValue()
            start += columns.size()
        }
        return [ids.toString(), classes.toString(), String.join("\n", columns.keySet()), values] as Object[]
    }

    /**
     * Add detections.
     *
     * x, y     outlines one after the other, each without its closing point; ends: where each ends.
     * shapes   well-known binary of the outlines that have holes or parts, null for the others.
     * ids      one a line.
     * classes  which of the palette each detection is of, -1 for none.
     * planes   z and t of each detection.
     * values   measurements by detection, then by name; NaN for none.
     */
    static void add(ImageData<BufferedImage> data, double[] x, double[] y, int[] ends, byte[][] shapes,
                    String ids, PathClass[] palette, int[] classes, int[] planes, String[] names, double[] values) {
        String[] lines = ids.split("\n")
        WKBReader reader = new WKBReader(GeometryTools.getDefaultFactory())
        List<PathObject> detections = new ArrayList<PathObject>(ends.length)
        int start = 0
        for (int i = 0; i < ends.length; i++) {
            ImagePlane plane = ImagePlane.getPlane(planes[2 * i], planes[2 * i + 1])
            ROI roi
            if (shapes[i] != null)
                roi = GeometryTools.geometryToROI(reader.read(shapes[i]), plane)
            else
                roi = ROIs.createPolygonROI(Arrays.copyOfRange(x, start, ends[i]), Arrays.copyOfRange(y, start, ends[i]), plane)
            start = ends[i]
            def measurements = MeasurementListFactory.createMeasurementList(names.length, MeasurementListType.FLOAT)
            for (int j = 0; j < names.length; j++) {
                double value = values[i * names.length + j]
                if (!Double.isNaN(value))
                    measurements.put(names[j], value)
            }
            measurements.close()
            PathObject detection = PathObjects.createDetectionObject(roi, classes[i] < 0 ? null : palette[classes[i]], measurements)
            detection.setID(UUID.fromString(lines[i]))
            detections.add(detection)
        }
        data.getHierarchy().getRootObject().addChildObjects(detections)
    }
}

/**
 * Stands in for an image that is not opened: its pixels are not needed to change its objects, and where
 * the file or its reader is missing QuPath 0.5 would lose the objects on saving.
 * What is written of the image is its builder, unchanged.
 */
@CompileStatic
class StandInServer extends AbstractImageServer<BufferedImage> {

    private final ServerBuilder<BufferedImage> recorded
    private final ImageServerMetadata known

    StandInServer(ServerBuilder<BufferedImage> recorded, String name, int width, int height,
                  int sizeZ, int sizeT, int channels, String pixelType) {
        super(BufferedImage.class)
        this.recorded = recorded
        def builder = new ImageServerMetadata.Builder().name(name).width(width).height(height).sizeZ(sizeZ).sizeT(sizeT)
        if (channels == 3 && pixelType == "UINT8")
            builder = builder.rgb(true)
        else
            builder = builder.pixelType(PixelType.valueOf(pixelType)).channels(ImageChannel.getDefaultChannelList(channels))
        this.known = builder.build()
    }

    @Override
    Collection<URI> getURIs() {
        return recorded.getURIs()
    }

    @Override
    String getServerType() {
        return "Recorded image"
    }

    @Override
    ImageServerMetadata getOriginalMetadata() {
        return known
    }

    @Override
    BufferedImage readRegion(RegionRequest request) throws IOException {
        throw new IOException("the image is not open")
    }

    @Override
    ServerBuilder<BufferedImage> getBuilder() {
        return recorded
    }

    @Override
    protected ServerBuilder<BufferedImage> createServerBuilder() {
        return recorded
    }

    @Override
    protected String createID() {
        return known.getName()
    }
}
