import Testing
import Transparency

@Suite("Tiles")
struct TileTests {
    @Test(
        "a path is read as it is written",
        arguments: [
            ("tile/0/000", 0, 0, 256), ("tile/0/001.p/5", 0, 1, 5),
            ("tile/1/x001/000", 1, 1000, 256),
            ("tile/0/x001/x234/067", 0, 1_234_067, 256), ("tile/63/999.p/255", 63, 999, 255),
            ("tile/7/x001/x234/067.p/1", 7, 1_234_067, 1),
            ("tile/entries/x273/112", -1, 273_112, 256), ("tile/entries/000.p/1", -1, 0, 1),
            ("tile/0/x999/x999/x999/x999/x999/999", 0, 999_999_999_999_999_999, 256),
        ] as [(String, Int, UInt64, Int)])
    func paths(path: String, level: Int, index: UInt64, width: Int) throws {
        let tile = try Tile(path: path)
        #expect(tile.kind == (level < 0 ? .entries : .hashes(level: level)))
        #expect(tile.index == index && tile.width == width)
        #expect(tile.path == path)
        _ = tile.leaves
    }

    @Test(
        "what is no path is refused",
        arguments: [
            "", "tile", "tile/", "tile/0", "tile/0/", "tile/0/0", "tile/0/00", "tile/0/0000",
            "tile/00/000",
            "tile/64/000", "tile/-1/000", "tile/+1/000", "tile/0/x000/000", "tile/0/x000/x001/000",
            "tile/0/000.p", "tile/0/000.p/", "tile/0/000.p/0", "tile/0/000.p/256",
            "tile/0/000.p/05",
            "tile/0/000.p/5/6", "tile/0/000.p/5/", "tile/0/001/000", "tile/0/x001/x000",
            "tile/0/x001", "tile/0//000", "/tile/0/000", "tile/0/000/", "tile/0/../000",
            "tile/0/0a0",
            "tile/0/X001/000", "Tile/0/000", "tile/Entries/000", "tile/entries", "tile/0/000.q/5",
            "tile/0/.p/5", "tile/0/x001/.p/5", "tile/0/x001.p/5", "tile/0/٠٠٠", "tile/0/000\n",
            "tile/0/x001/x000/x000/x000/x000/x000/000", "tile/0/000.p/99999999999999999999",
            String(repeating: "tile/", count: 100_000),
        ])
    func malformed(path: String) {
        #expect(refusal { _ = try Tile(path: path) } == .malformedPath)
    }

    @Test("all indices up to 1,001,100 in steps, and all widths, survive path and back")
    func roundTrip() throws {
        for index in stride(from: UInt64(0), through: 1_001_100, by: 37) {
            let tile = Tile(.hashes(level: 3), index: index)
            #expect(try Tile(path: tile.path) == tile)
        }
        for width in 1...256 {
            let tile = Tile(.entries, index: 77, width: width)
            #expect(try Tile(path: tile.path) == tile)
        }
    }

    @Test("the example of the specification: 70,000 leaves")
    func example() {
        #expect(Tile(.hashes(level: 0), index: 272, size: 70_000)?.width == 256)
        #expect(Tile(.hashes(level: 0), index: 273, size: 70_000)?.width == 112)
        #expect(Tile(.hashes(level: 0), index: 274, size: 70_000) == nil)
        #expect(Tile(.hashes(level: 1), index: 0, size: 70_000)?.width == 256)
        #expect(Tile(.hashes(level: 1), index: 1, size: 70_000)?.width == 17)
        #expect(Tile(.hashes(level: 2), index: 0, size: 70_000)?.width == 1)
        #expect(Tile(.hashes(level: 3), index: 0, size: 70_000) == nil)
        #expect(Tile(.hashes(level: 1), index: 0, size: 256)?.width == 1)
        #expect(Tile(.hashes(level: 0), index: 1, size: 256) == nil)
        #expect(Tile(.hashes(level: 8), index: 0, size: .max) == nil)
        #expect(Tile(.hashes(level: 0), index: .max, size: .max) == nil)
        #expect(Tile(.hashes(level: 7), index: 0, size: Decimal.maximum)?.width == 127)
        #expect(Tile(.hashes(level: 1), index: 1, size: 70_000)?.leaves == 65_536..<69_888)
        #expect(Tile(.hashes(level: 63), index: .max).leaves == 0..<Decimal.maximum)
    }

    @Test("a tile of hashes has exactly its width")
    func hashTiles() throws {
        let bytes = (0..<3).flatMap { MerkleHash.leaf([UInt8($0)]).bytes }
        let tile = Tile(.hashes(level: 0), index: 0, width: 3)
        #expect(try HashTile(parsing: bytes, as: tile).bytes == bytes)
        for count in [0, 31, 64, 95] {
            let cut = Array(bytes.prefix(count))
            #expect(refusal { _ = try HashTile(parsing: cut, as: tile) } == .malformedTile)
        }
        #expect(refusal { _ = try HashTile(parsing: bytes + [0], as: tile) } == .malformedTile)
        #expect(refusal { _ = try HashTile(parsing: bytes, as: tile.full) } == .malformedTile)
    }

    @Test("a bundle has exactly its entries")
    func bundles() throws {
        let entries: [[UInt8]] = [[], [1], Array(repeating: 7, count: 65_535), [2, 3]]
        var bundle: [UInt8] = []
        for entry in entries { try EntryBundle.append(entry, to: &bundle) }
        #expect(try EntryBundle.parse(bundle, count: 4).map(Array.init) == entries)
        #expect(try EntryBundle.parse([], count: 0).isEmpty)
        for count in [-1, 0, 3, 5, Int.max] {
            #expect(refusal { _ = try EntryBundle.parse(bundle, count: count) } == .malformedTile)
        }
        for cut in [1, 2, 3, bundle.count - 1] {
            let short = Array(bundle.prefix(cut))
            #expect(refusal { _ = try EntryBundle.parse(short, count: 4) } == .malformedTile)
        }
        let before = bundle
        #expect(
            refusal {
                try EntryBundle.append(Array(repeating: 0, count: 65_536), to: &bundle)
            } == .tooLarge)
        #expect(bundle == before)
    }

    @Test("numbers are digits without superfluous zeros, up to 2^63-1")
    func decimals() {
        #expect(Decimal.parse("0".utf8) == 0)
        #expect(Decimal.parse("9223372036854775807".utf8) == UInt64(Int64.max))
        for text in [
            "", "00", "01", "-1", "+1", " 1", "1 ", "9223372036854775808", "9999999999999999999",
            "18446744073709551616", "1e3", "0x1", "١", String(repeating: "1", count: 10_000),
        ] {
            #expect(Decimal.parse(text.utf8) == nil, "\(text.prefix(30))")
        }
    }
}
