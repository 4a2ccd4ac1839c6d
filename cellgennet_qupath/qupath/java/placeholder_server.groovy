// Runs inside QuPath's Java, where calls from Python would be too slow or are impossible.
// Compiled by QuPath's own Groovy (4 and 5) against the installed QuPath.

import groovy.transform.CompileStatic
import java.awt.image.BufferedImage
import qupath.lib.images.servers.AbstractImageServer
import qupath.lib.images.servers.ImageChannel
import qupath.lib.images.servers.ImageServerBuilder.ServerBuilder
import qupath.lib.images.servers.ImageServerMetadata
import qupath.lib.images.servers.PixelType
import qupath.lib.regions.RegionRequest

/**
 * Takes the place of an image that is not opened: changing objects needs no pixels, and without the image
 * file or its reader QuPath 0.5 would lose the objects on saving.
 * The image's recorded builder is written back unchanged.
 */
@CompileStatic
class PlaceholderServer extends AbstractImageServer<BufferedImage> {

    private final ServerBuilder<BufferedImage> recorded
    private final ImageServerMetadata known

    PlaceholderServer(ServerBuilder<BufferedImage> recorded, String name, int width, int height,
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
