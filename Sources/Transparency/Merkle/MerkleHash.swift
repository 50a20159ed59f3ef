import Crypto
import SPIFFE

/// A SHA-256 hash of a leaf or node of a Merkle tree (RFC 6962 §2.1, RFC 9162 §2.1.1): 32 bytes, no heap.
package struct MerkleHash: Hashable, Sendable, CustomStringConvertible {
    /// How many bytes a hash has.
    package static let byteCount = 32

    /// The bytes in their order, whatever the machine's.
    private let words: SIMD4<UInt64>

    private init(words: SIMD4<UInt64>) { self.words = words }

    private init(_ digest: SHA256Digest) {
        self.words = digest.withUnsafeBytes { $0.loadUnaligned(as: SIMD4<UInt64>.self) }
    }

    /// A hash from its bytes; nil unless there are exactly 32.
    package init?(bytes: some Collection<UInt8>) {
        guard bytes.count == Self.byteCount else { return nil }
        self.words = withUnsafeTemporaryAllocation(byteCount: 32, alignment: 32) { buffer in
            buffer.copyBytes(from: bytes)
            return buffer.load(as: SIMD4<UInt64>.self)
        }
    }

    /// A hash from standard base64 with padding; nil unless it is that and has 32 bytes.
    package init?(base64: some Collection<UInt8>) {
        guard base64.count == 44, let text = String(validating: base64, as: UTF8.self),
            let bytes = try? Base64.decode(text)
        else { return nil }
        self.init(bytes: bytes)
    }

    /// The root of the tree without leaves: the hash of nothing.
    package static let emptyTree = MerkleHash(SHA256.hash(data: [UInt8]()))

    /// The hash of a leaf: SHA-256 of a zero byte and the entry.
    package static func leaf(_ entry: some ContiguousBytesOfEntry) -> MerkleHash {
        var hasher = SHA256()
        withUnsafeBytes(of: 0x00 as UInt8) { hasher.update(bufferPointer: $0) }
        entry.withUnsafeBytes { hasher.update(bufferPointer: $0) }
        return MerkleHash(hasher.finalize())
    }

    /// The hash of an inner node: SHA-256 of a one byte and both children.
    package static func node(_ left: MerkleHash, _ right: MerkleHash) -> MerkleHash {
        withUnsafeTemporaryAllocation(byteCount: 65, alignment: 1) { buffer in
            buffer[0] = 0x01
            buffer.storeBytes(of: left.words, toByteOffset: 1, as: SIMD4<UInt64>.self)
            buffer.storeBytes(of: right.words, toByteOffset: 33, as: SIMD4<UInt64>.self)
            var hasher = SHA256()
            hasher.update(bufferPointer: UnsafeRawBufferPointer(buffer))
            return MerkleHash(hasher.finalize())
        }
    }

    /// The root over the hashes of subtrees, the largest first, as the right edge of a tree is made of; the
    /// empty tree's root for none.
    package static func fold(_ subtrees: [MerkleHash]) -> MerkleHash {
        guard var root = subtrees.last else { return .emptyTree }
        for subtree in subtrees.dropLast().reversed() { root = .node(subtree, root) }
        return root
    }

    /// The root of a perfect subtree over `hashes`, of which there must be a power of two.
    package static func perfect(_ hashes: ArraySlice<MerkleHash>) -> MerkleHash {
        guard hashes.count > 1 else { return hashes.first ?? .emptyTree }
        let middle = hashes.startIndex + hashes.count / 2
        return .node(self.perfect(hashes[..<middle]), self.perfect(hashes[middle...]))
    }

    /// The 32 bytes.
    package var bytes: [UInt8] {
        withUnsafeBytes(of: self.words) { [UInt8]($0) }
    }

    /// Appends the 32 bytes.
    package func append(to output: inout [UInt8]) {
        withUnsafeBytes(of: self.words) { output.append(contentsOf: $0) }
    }

    /// Standard base64 with padding, as checkpoints and proofs have it.
    package var base64: String { Base64.encode(self.bytes) }

    /// Lower-case hexadecimal.
    package var description: String { Hex.encode(self.bytes) }
}

/// Bytes of an entry in one piece: an array or a slice of one.
package protocol ContiguousBytesOfEntry {
    /// Calls the closure with the bytes.
    func withUnsafeBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R
}

extension [UInt8]: ContiguousBytesOfEntry {}
extension ArraySlice<UInt8>: ContiguousBytesOfEntry {}
