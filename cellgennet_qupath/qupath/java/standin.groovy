// Runs inside QuPath's Java: what would be too slow, or impossible, call by call from Python.
// Compiled by QuPath's own Groovy (4 and 5) against the QuPath that was found.

import groovy.transform.CompileStatic
import java.awt.image.BufferedImage
import qupath.lib.images.servers.AbstractImageServer
import qupath.lib.images.servers.ImageChannel
import qupath.lib.images.servers.ImageServerBuilder.ServerBuilder
import qupath.lib.images.servers.ImageServerMetadata
import qupath.lib.images.servers.PixelType
import qupath.lib.regions.RegionRequest

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
