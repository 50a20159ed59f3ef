/// Replaces `$NAME` and `${NAME}` in text by variables of the environment.
package enum EnvironmentExpansion {
    /// Expands the text as SPIRE does for `-expandEnv`, before it is parsed.
    ///
    /// A variable that is not set gives nothing, `$$` gives `$`, a `$` that no name follows stays, and
    /// `${` without a closing brace is dropped.
    ///
    /// - Parameters:
    ///   - text: The whole file.
    ///   - environment: Names and values.
    /// - Throws: ``ConfigurationError`` with `tooLarge` as soon as the result exceeds `limit` bytes.
    package static func expand(
        _ text: [UInt8], environment: [String: String],
        limit: Int = ConfigurationDocument.maximumSize
    ) throws(ConfigurationError) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(text.count)
        var index = 0
        while index < text.count {
            guard text[index] == UInt8(ascii: "$"), index + 1 < text.count else {
                result.append(text[index])
                index += 1
                continue
            }
            let (name, width) = EnvironmentExpansion.name(in: text[(index + 1)...])
            if width == 0 {
                result.append(text[index])
            } else if name == "$" {
                result.append(UInt8(ascii: "$"))
            } else if let value = environment[name] {
                result.append(contentsOf: value.utf8)
            }
            index += 1 + width
            if result.count > limit {
                throw ConfigurationError(
                    .tooLarge, "configuration is larger than \(limit) bytes after -expandEnv")
            }
        }
        return result
    }

    /// The name that follows a `$` and how many bytes belong to it, braces included.
    private static func name(in rest: ArraySlice<UInt8>) -> (name: String, width: Int) {
        guard let first = rest.first else { return ("", 0) }
        if first == UInt8(ascii: "{") {
            guard let end = rest.firstIndex(of: UInt8(ascii: "}")) else { return ("", 1) }
            let name = String(decoding: rest[(rest.startIndex + 1)..<end], as: UTF8.self)
            return (name, end - rest.startIndex + 1)
        }
        if "*#$@!?-0123456789".utf8.contains(first) {
            return (String(Unicode.Scalar(first)), 1)
        }
        let name = rest.prefix { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
                true
            default: false
            }
        }
        return (String(decoding: name, as: UTF8.self), name.count)
    }
}
