/// Reads DER one element after the other, without building a tree: a list of a million serial numbers costs no more
/// than its own bytes.
struct DERCursor {
    struct Element {
        let tag: UInt8
        /// Tag, length and contents.
        let whole: Range<Int>
        let contents: Range<Int>
    }

    /// The bytes are not DER as it was expected.
    struct Malformed: Error {
        let what: String
    }

    let bytes: [UInt8]
    private var position: Int
    private let end: Int

    init(_ bytes: [UInt8]) {
        self.init(bytes, in: bytes.indices)
    }

    /// - Parameter range: within `bytes`.
    init(_ bytes: [UInt8], in range: Range<Int>) {
        self.bytes = bytes
        self.position = range.lowerBound
        self.end = range.upperBound
    }

    var isAtEnd: Bool { self.position >= self.end }
    /// The tag of the next element; nil at the end.
    var nextTag: UInt8? { self.isAtEnd ? nil : self.bytes[self.position] }

    /// The next element.
    ///
    /// - Parameter tag: what it must be; nil for anything.
    mutating func next(_ tag: UInt8? = nil, _ what: String) throws(Malformed) -> Element {
        let start = self.position
        guard self.end - start >= 2 else { throw Malformed(what: "\(what) is missing") }
        let found = self.bytes[start]
        // Tags of more than one byte are not used in what is read here.
        guard found & 0x1f != 0x1f, tag == nil || tag == found else {
            throw Malformed(what: "\(what) has tag \(found)")
        }
        var length = Int(self.bytes[start + 1])
        var header = 2
        if length >= 0x80 {
            let count = length & 0x7f
            // Four bytes are more than any list has; no indefinite and no overlong form.
            guard count >= 1, count <= 4, self.end - start - 2 >= count else {
                throw Malformed(what: "\(what) has a bad length")
            }
            length = 0
            for offset in 0..<count { length = length << 8 | Int(self.bytes[start + 2 + offset]) }
            guard length >= 0x80, count == 1 || length >> (8 * (count - 1)) != 0 else {
                throw Malformed(what: "\(what) has a bad length")
            }
            header += count
        }
        guard self.end - start - header >= length else {
            throw Malformed(what: "\(what) is cut off")
        }
        self.position = start + header + length
        return Element(
            tag: found, whole: start..<self.position,
            contents: (start + header)..<self.position)
    }

    func inside(_ element: Element) -> DERCursor { DERCursor(self.bytes, in: element.contents) }

    /// Throws unless everything has been read.
    func requireEnd(_ what: String) throws(Malformed) {
        if !self.isAtEnd { throw Malformed(what: "something follows \(what)") }
    }
}
