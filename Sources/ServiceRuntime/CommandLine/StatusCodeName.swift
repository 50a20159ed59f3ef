/// The names that Go gives to gRPC status codes; scripts look for them in error messages.
package enum StatusCodeName {
    /// The name of a numeric code, such as `NotFound` for 5.
    package static func name(_ code: Int) -> String {
        let names = [
            "OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound",
            "AlreadyExists", "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
            "Aborted",
            "OutOfRange", "Unimplemented", "Internal", "Unavailable", "DataLoss", "Unauthenticated",
        ]
        return names.indices.contains(code) ? names[code] : "Code(\(code))"
    }

    /// A failed call in the form that SPIRE's programs print.
    package static func describe(code: Int, message: String) -> String {
        "rpc error: code = \(StatusCodeName.name(code)) desc = \(TerminalText.safe(message))"
    }
}

/// Text from outside, made safe to show on a terminal.
package enum TerminalText {
    /// Replaces control characters, except that nothing is put in quotes.
    package static func safe(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            if QuotedText.isControl(scalar) {
                result += "\\u{" + String(scalar.value, radix: 16) + "}"
            } else {
                result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    /// A count with the word for it: `1 entry`, `2 entries`.
    package static func counted(_ count: Int, _ singular: String, _ plural: String) -> String {
        "\(count) \(count == 1 ? singular : plural)"
    }

    /// A line of a block: the label padded to a width, a colon and the value.
    package static func field(_ label: String, _ value: String, width: Int) -> String {
        let padding = String(repeating: " ", count: max(0, width - label.utf8.count))
        return "\(label)\(padding): \(TerminalText.safe(value))"
    }
}
