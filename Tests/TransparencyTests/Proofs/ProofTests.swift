import Testing
import Transparency

/// The roots of all perfect subtrees of a log of numbered leaves.
struct Subtrees {
    private var rows: [[MerkleHash]]

    init(leaves count: UInt64) {
        self.rows = [(0..<count).map { .leaf(numberedLeaf($0)) }]
        while let row = self.rows.last, row.count > 1 {
            self.rows.append(
                stride(from: 0, to: row.count - 1, by: 2).map { .node(row[$0], row[$0 + 1]) })
        }
    }

    func root(_ range: Range<UInt64>) -> MerkleHash {
        .fold(MerkleNode.nodes(covering: range).map { self.rows[$0.height][Int($0.index)] })
    }
}

@Suite("Proofs")
struct ProofTests {
    private let trees = Subtrees(leaves: 140)

    @Test("the inclusion of every leaf in every tree up to 140, and of no other")
    func inclusion() throws {
        for size in UInt64(1)...140 {
            let root = self.trees.root(0..<size)
            for index in 0..<size {
                let path = try InclusionProof.ranges(index: index, size: size).map(self.trees.root)
                let leaf = MerkleHash.leaf(numberedLeaf(index))
                let proof = InclusionProof(index: index, size: size, path: path)
                #expect(proof.root(from: leaf) == root, "\(index) of \(size)")
            }
        }
    }

    @Test("the consistency of every two trees up to 140")
    func consistency() throws {
        let roots = (UInt64(0)...140).map { self.trees.root(0..<$0) }
        for new in UInt64(0)...140 {
            for old in 0...new {
                let path = try ConsistencyProof.ranges(oldSize: old, newSize: new)
                    .map(self.trees.root)
                let proof = ConsistencyProof(oldSize: old, newSize: new, path: path)
                let code = refusal {
                    try proof.verify(oldRoot: roots[Int(old)], newRoot: roots[Int(new)])
                }
                #expect(code == nil, "\(old) to \(new)")
            }
        }
    }

    @Test("paths are those of the RFC's definition")
    func vectors() throws {
        let vectors = try Vectors.load()
        let trees = Subtrees(leaves: 70_000)
        for vector in vectors.inclusion {
            let path = try InclusionProof.ranges(index: vector.index, size: vector.size)
                .map(trees.root)
            #expect(path.map(\.description) == vector.path, "\(vector.index) of \(vector.size)")
        }
        for vector in vectors.consistency {
            let path = try ConsistencyProof.ranges(oldSize: vector.old, newSize: vector.new)
                .map(trees.root)
            #expect(path.map(\.description) == vector.path, "\(vector.old) to \(vector.new)")
        }
    }

    @Test("an inclusion proof that was changed in any way is refused")
    func wrongInclusion() throws {
        let wrong = MerkleHash.leaf([0xFF])
        for size in UInt64(1)...40 {
            let root = self.trees.root(0..<size)
            for index in 0..<size {
                let path = try InclusionProof.ranges(index: index, size: size).map(self.trees.root)
                let leaf = MerkleHash.leaf(numberedLeaf(index))
                func holds(_ index: UInt64, _ size: UInt64, _ path: [MerkleHash]) -> Bool {
                    InclusionProof(index: index, size: size, path: path).root(from: leaf) == root
                }
                #expect(holds(index, size, path))
                for other in 0..<size where other != index { #expect(!holds(other, size, path)) }
                for place in path.indices {
                    var changed = path
                    changed[place] = wrong
                    #expect(!holds(index, size, changed))
                }
                #expect(!holds(index, size, path + [wrong]))
                #expect(!holds(index, size, path + [root]))
                if !path.isEmpty {
                    #expect(!holds(index, size, Array(path.dropLast())))
                    #expect(!holds(index, size, Array(path.dropFirst())))
                }
                let proof = InclusionProof(index: index, size: size, path: path)
                #expect(proof.root(from: wrong) != root)
            }
        }
    }

    @Test("a consistency proof that was changed in any way is refused")
    func wrongConsistency() throws {
        let wrong = MerkleHash.leaf([0xFF])
        for new in UInt64(1)...40 {
            let newRoot = self.trees.root(0..<new)
            for old in 1...new {
                let oldRoot = self.trees.root(0..<old)
                let path = try ConsistencyProof.ranges(oldSize: old, newSize: new)
                    .map(self.trees.root)
                func holds(_ path: [MerkleHash], _ a: MerkleHash, _ b: MerkleHash) -> Bool {
                    let proof = ConsistencyProof(oldSize: old, newSize: new, path: path)
                    return refusal { try proof.verify(oldRoot: a, newRoot: b) } == nil
                }
                #expect(holds(path, oldRoot, newRoot))
                #expect(!holds(path, wrong, newRoot))
                #expect(!holds(path, oldRoot, wrong))
                #expect(!holds(path + [wrong], oldRoot, newRoot))
                for place in path.indices {
                    var changed = path
                    changed[place] = wrong
                    #expect(!holds(changed, oldRoot, newRoot))
                }
                if !path.isEmpty { #expect(!holds(Array(path.dropLast()), oldRoot, newRoot)) }
            }
        }
    }

    @Test("sizes at the edge of what numbers can be neither trap nor hold")
    func extremes() throws {
        let hash = MerkleHash.leaf([])
        let long = [MerkleHash](repeating: hash, count: 200)
        for size in [0, 1, UInt64(Int64.max), UInt64(Int64.max) + 1, .max] as [UInt64] {
            for index in [0, 1, UInt64(Int64.max) - 1, UInt64(Int64.max), .max] as [UInt64] {
                #expect(
                    InclusionProof(index: index, size: size, path: long).root(from: hash) == nil)
                let proof = ConsistencyProof(oldSize: index, newSize: size, path: long)
                #expect(refusal { try proof.verify(oldRoot: hash, newRoot: hash) } == .wrongProof)
            }
        }
        #expect(
            try InclusionProof.ranges(index: Decimal.maximum - 1, size: Decimal.maximum).count == 62
        )
        #expect(refusal { _ = try InclusionProof.ranges(index: 0, size: .max) } == .outOfRange)
        #expect(refusal { _ = try InclusionProof.ranges(index: 0, size: 0) } == .outOfRange)
        #expect(
            refusal { _ = try ConsistencyProof.ranges(oldSize: 2, newSize: 1) } == .outOfRange)
        let most = try ConsistencyProof.ranges(
            oldSize: Decimal.maximum - 1, newSize: Decimal.maximum)
        #expect(most.count <= 64)
    }
}
