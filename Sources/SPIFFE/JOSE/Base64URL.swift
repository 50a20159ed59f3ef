/// Base64 with the URL alphabet and without padding (RFC 7515 appendix C), in its one strict form.
package enum Base64URL {
    /// Encodes the bytes; never adds padding.
    package static func encode(_ bytes: [UInt8]) -> String {
        let length = self.encodedLength(bytes.count)
        return String(unsafeUninitializedCapacity: length) { output in
            bytes.withUnsafeBufferPointer { Base64Alphabet.url.encode($0, into: output) }
        }
    }

    /// Decodes text in the URL alphabet.
    ///
    /// - Throws: ``JOSEError`` `base64` for padding, white space, any other byte, an impossible length,
    ///   or bits set that belong to no byte.
    package static func decode(_ text: some StringProtocol) throws(JOSEError) -> [UInt8] {
        try Base64Alphabet.url.decode(Array(text.utf8)[...])
    }

    /// Decodes bytes of text in the URL alphabet; rules as ``decode(_:)-swift.type.method``.
    package static func decode(utf8 text: ArraySlice<UInt8>) throws(JOSEError) -> [UInt8] {
        try Base64Alphabet.url.decode(text)
    }

    /// How many characters `count` bytes become.
    static func encodedLength(_ count: Int) -> Int { (count * 4 + 2) / 3 }

    /// Appends the encoded bytes as ASCII.
    static func append(_ bytes: [UInt8], to output: inout [UInt8]) {
        let length = self.encodedLength(bytes.count)
        output.append(addingCapacity: length) { target in
            bytes.withUnsafeBufferPointer { Base64Alphabet.url.encode($0, into: target) }
        }
    }
}

/// Base64 with the standard alphabet and padding, as `x5c` has it (RFC 7517 §4.7).
package enum Base64 {
    /// Encodes the bytes with padding and without line breaks.
    package static func encode(_ bytes: [UInt8]) -> String {
        let length = (bytes.count * 4 + 2) / 3
        let padded = (bytes.count + 2) / 3 * 4
        return String(unsafeUninitializedCapacity: padded) { output in
            _ = bytes.withUnsafeBufferPointer { Base64Alphabet.standard.encode($0, into: output) }
            for index in length..<padded { output[index] = UInt8(ascii: "=") }
            return padded
        }
    }

    /// Decodes text in the standard alphabet.
    ///
    /// - Throws: ``JOSEError`` `base64` for missing padding, white space, any other byte, or bits set
    ///   that belong to no byte.
    package static func decode(_ text: some StringProtocol) throws(JOSEError) -> [UInt8] {
        let utf8 = Array(text.utf8)
        guard utf8.count.isMultiple(of: 4) else {
            throw JOSEError(.base64, "base64 of \(utf8.count) characters: expected a multiple of 4")
        }
        var body = utf8[...]
        for _ in 0..<2 where body.last == UInt8(ascii: "=") { body.removeLast() }
        return try Base64Alphabet.standard.decode(body)
    }
}

/// The two alphabets and the loops that both encodings share. Not constant-time: public data only.
private struct Base64Alphabet: Sendable {
    static let url = Base64Alphabet(62, UInt8(ascii: "-"), 63, UInt8(ascii: "_"))
    static let standard = Base64Alphabet(62, UInt8(ascii: "+"), 63, UInt8(ascii: "/"))

    private let characters: [UInt8]
    /// The value of each byte, 255 where it has none.
    private let values: [UInt8]

    private init(_ first: Int, _ firstCharacter: UInt8, _ last: Int, _ lastCharacter: UInt8) {
        var characters = Array(
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789++".utf8)
        characters[first] = firstCharacter
        characters[last] = lastCharacter
        var values = [UInt8](repeating: 255, count: 256)
        for (value, character) in characters.enumerated() { values[Int(character)] = UInt8(value) }
        self.characters = characters
        self.values = values
    }

    /// Writes the encoded bytes without padding and returns how many characters that was.
    func encode(
        _ bytes: UnsafeBufferPointer<UInt8>, into output: UnsafeMutableBufferPointer<UInt8>
    ) -> Int {
        self.characters.withUnsafeBufferPointer { characters in
            var written = 0
            var index = 0
            while index + 2 < bytes.count {
                let block =
                    Int(bytes[index]) << 16 | Int(bytes[index + 1]) << 8 | Int(bytes[index + 2])
                output[written] = characters[block >> 18]
                output[written + 1] = characters[block >> 12 & 63]
                output[written + 2] = characters[block >> 6 & 63]
                output[written + 3] = characters[block & 63]
                written += 4
                index += 3
            }
            switch bytes.count - index {
            case 1:
                let block = Int(bytes[index]) << 4
                output[written] = characters[block >> 6]
                output[written + 1] = characters[block & 63]
                written += 2
            case 2:
                let block = Int(bytes[index]) << 10 | Int(bytes[index + 1]) << 2
                output[written] = characters[block >> 12]
                output[written + 1] = characters[block >> 6 & 63]
                output[written + 2] = characters[block & 63]
                written += 3
            default:
                break
            }
            return written
        }
    }

    /// Decodes text without padding.
    func decode(_ text: ArraySlice<UInt8>) throws(JOSEError) -> [UInt8] {
        guard text.count % 4 != 1 else {
            throw JOSEError(.base64, "base64 of \(text.count) characters cannot be: one too many")
        }
        var invalid: Int?
        var leftover: UInt32 = 0
        let decoded = [UInt8](unsafeUninitializedCapacity: text.count / 4 * 3 + 2) {
            output, count in
            self.values.withUnsafeBufferPointer { values in
                text.withUnsafeBufferPointer { text in
                    var block: UInt32 = 0
                    var bits: UInt32 = 0
                    for (offset, character) in text.enumerated() {
                        let value = values[Int(character)]
                        if value == 255 {
                            invalid = offset
                            return
                        }
                        block = block << 6 | UInt32(value)
                        bits += 6
                        if bits >= 8 {
                            bits -= 8
                            output[count] = UInt8(truncatingIfNeeded: block >> bits)
                            count += 1
                        }
                    }
                    leftover = block & ((1 << bits) - 1)
                }
            }
        }
        if let invalid {
            throw JOSEError(.base64, "base64 has a byte outside its alphabet at offset \(invalid)")
        }
        // Two spellings of one value would let a token be changed without breaking its signature.
        guard leftover == 0 else {
            throw JOSEError(.base64, "base64 ends with bits that belong to no byte")
        }
        return decoded
    }
}

extension Array where Element == UInt8 {
    /// Appends up to `capacity` bytes that the closure writes; it returns how many.
    fileprivate mutating func append(
        addingCapacity capacity: Int, _ write: (UnsafeMutableBufferPointer<UInt8>) -> Int
    ) {
        let start = self.count
        self.append(contentsOf: repeatElement(0, count: capacity))
        let written = self.withUnsafeMutableBufferPointer { buffer in
            write(UnsafeMutableBufferPointer(rebasing: buffer[start...]))
        }
        self.removeLast(capacity - written)
    }
}
