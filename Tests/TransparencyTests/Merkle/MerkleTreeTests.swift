import Testing
import Transparency

@Suite("Merkle trees")
struct MerkleTreeTests {
    @Test("the roots of Certificate Transparency's own test tree")
    func ctRoots() throws {
        let vectors = try Vectors.load()
        var frontier = MerkleFrontier()
        #expect(frontier.root == .emptyTree)
        #expect(frontier.root.description == vectors.ctRoots[0])
        for (index, leaf) in vectors.ctLeaves.enumerated() {
            frontier.append(.leaf(try #require(Hex.decode(leaf))))
            #expect(frontier.root.description == vectors.ctRoots[index + 1])
        }
    }

    @Test("roots of all sizes up to 300 and of large trees, with and without tiles")
    func roots() throws {
        let vectors = try Vectors.load()
        #expect(vectors.roots.count == 308)
        var tree = TiledTree()
        var compared = 0
        for size in UInt64(0)...70_000 {
            if let root = vectors.roots[String(size)] {
                #expect(tree.root.description == root, "size \(size)")
                #expect(tree.size == size)
                compared += 1
            }
            tree.append(.leaf(numberedLeaf(size)))
        }
        #expect(compared == vectors.roots.count)
    }

    @Test(
        "a tree goes on from its tiles as if it had never stopped",
        arguments: [0, 1, 255, 256, 300, 65_535, 65_536, 66_000] as [UInt64])
    func resume(size: UInt64) throws {
        var tree = TiledTree()
        for index in 0..<size { tree.append(.leaf(numberedLeaf(index))) }
        var rows = [[MerkleHash]](repeating: [], count: max(TiledTree.levels(size: size), 1))
        for partial in tree.partialTiles {
            guard case .hashes(let level) = partial.tile.kind else { continue }
            rows[level] = partial.hashes
        }
        var again = try TiledTree(size: size, rows: rows)
        #expect(again.root == tree.root)
        _ = tree.takeFinished()
        for index in size..<size + 300 {
            tree.append(.leaf(numberedLeaf(index)))
            again.append(.leaf(numberedLeaf(index)))
        }
        #expect(again.root == tree.root)
        #expect(again.takeFinished() == tree.takeFinished())
        #expect(again.partialTiles == tree.partialTiles)
    }

    @Test("rows of the wrong width make no tree")
    func wrongRows() {
        let hash = MerkleHash.leaf([1])
        #expect(refusal { _ = try TiledTree(size: 2, rows: [[hash]]) } == .malformedTile)
        #expect(refusal { _ = try TiledTree(size: 256, rows: [[]]) } == .malformedTile)
        #expect(refusal { _ = try TiledTree(size: 0, rows: [[hash]]) } == .malformedTile)
        #expect(refusal { _ = try TiledTree(size: .max, rows: []) } == .outOfRange)
        #expect(refusal { _ = try TiledTree(size: 1 << 62, rows: []) } == .malformedTile)
        #expect(MerkleFrontier(size: 3, subtrees: [hash]) == nil)
        #expect(MerkleFrontier(size: .max, subtrees: []) == nil)
    }

    @Test("a hash has 32 bytes and one spelling in base64")
    func spelling() {
        let hash = MerkleHash.leaf([])
        #expect(MerkleHash(bytes: hash.bytes) == hash)
        #expect(MerkleHash(base64: hash.base64.utf8) == hash)
        #expect(MerkleHash(bytes: [UInt8](repeating: 0, count: 31)) == nil)
        #expect(MerkleHash(bytes: [UInt8](repeating: 0, count: 33)) == nil)
        #expect(MerkleHash(base64: hash.base64.dropLast().utf8) == nil)
        // The last character of 43 has two bits that belong to no byte.
        let text = Array(hash.base64.utf8)
        let alphabet = Array(
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        let place = alphabet.firstIndex(of: text[42]) ?? 0
        for bits in 1...3 {
            var other = text
            other[42] = alphabet[place | bits]
            #expect(MerkleHash(base64: other) == nil)
        }
    }
}
