import ControlPlaneProto
import ServiceRuntime

/// The text form of a bundle as a SPIFFE bundle document.
enum SPIFFEBundleText {
    static func json(_ bundle: Spire_Api_Types_Bundle) throws -> String {
        throw CommandError("the format spiffe is not there yet")
    }
}
