/// A Status List (draft-ietf-oauth-status-list-21 §4): one small number per place, packed from the least significant bit
/// of the first byte on.
package struct StatusBits: Sendable, Hashable {
    /// 1, 2, 4 or 8.
    package let bitsPerPlace: Int
    /// Every place, also of those that nobody has.
    package private(set) var bytes: [UInt8]

    /// A list of zeros: all are valid.
    ///
    /// - Parameters:
    ///   - bitsPerPlace: 1, 2, 4 or 8; anything else counts as 8.
    ///   - places: rounded up to whole bytes.
    package init(bitsPerPlace: Int, places: Int) {
        self.bitsPerPlace = [1, 2, 4].contains(bitsPerPlace) ? bitsPerPlace : 8
        let perByte = 8 / self.bitsPerPlace
        self.bytes = [UInt8](repeating: 0, count: (max(0, places) + perByte - 1) / perByte)
    }

    /// How many places there are.
    package var places: Int { self.bytes.count * (8 / self.bitsPerPlace) }

    /// The number at a place; nil outside of the list.
    package subscript(place: Int) -> UInt8? {
        guard (0..<self.places).contains(place) else { return nil }
        let (byte, shift) = self.position(place)
        return self.bytes[byte] >> shift & self.mask
    }

    /// Sets the number at a place, cut to the width of one; does nothing outside of the list.
    package mutating func set(_ value: UInt8, at place: Int) {
        guard (0..<self.places).contains(place) else { return }
        let (byte, shift) = self.position(place)
        self.bytes[byte] = self.bytes[byte] & ~(self.mask << shift) | (value & self.mask) << shift
    }

    /// The bytes as they go into `lst`, before base64url.
    ///
    /// - Parameter level: 1 to 9.
    /// - Throws: ``ServerError`` `internal` when they cannot be compressed.
    package func compressed(level: Int32) throws(ServerError) -> [UInt8] {
        try Zlib.compress(self.bytes, level: level)
    }

    private var mask: UInt8 { self.bitsPerPlace == 8 ? 0xFF : (1 << UInt8(self.bitsPerPlace)) - 1 }

    private func position(_ place: Int) -> (byte: Int, shift: UInt8) {
        let perByte = 8 / self.bitsPerPlace
        return (place / perByte, UInt8(place % perByte * self.bitsPerPlace))
    }
}
