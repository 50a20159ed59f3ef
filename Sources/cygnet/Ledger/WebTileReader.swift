import SPIFFEHTTP
import Transparency

/// The files of a log at an address.
struct WebTileReader: TileReader {
    private let files: WebFileReader

    init(url: String) throws {
        do throws(SPIFFEHTTPError) {
            self.files = try WebFileReader(url: url)
        } catch {
            throw LaptopError(message: "cannot use --url: \(error.message)")
        }
    }

    func read(_ path: String, limit: Int) async throws -> [UInt8]? {
        do {
            return try await self.files.read(path, limit: limit)
        } catch let error as SPIFFEHTTPError {
            throw LaptopError(message: "cannot read \(path): \(error.message)")
        }
    }
}
