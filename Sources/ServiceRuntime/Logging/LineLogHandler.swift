package import Logging

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Writes log events as lines of text or JSON, in the manner of SPIRE's logs.
///
/// Values may come from outside: control characters and line separators are escaped in both formats, so
/// that no value can begin a line of its own. The logger's label appears as `subsystem_name`.
package struct LineLogHandler: LogHandler {
    package var metadata: Logger.Metadata = [:]
    package var metadataProvider: Logger.MetadataProvider?
    package var logLevel: Logger.Level

    private let label: String
    private let format: LogFormat
    private let sourceLocation: Bool
    private let sink: LogSink
    private let now: @Sendable () -> timespec

    /// Makes a handler.
    ///
    /// - Parameters:
    ///   - label: The subsystem; empty for none.
    ///   - configuration: Level and format; its file is not looked at.
    ///   - sink: Where the lines go.
    package init(label: String, configuration: LogConfiguration, sink: LogSink) {
        self.init(label: label, configuration: configuration, sink: sink) {
            var now = timespec()
            clock_gettime(CLOCK_REALTIME, &now)
            return now
        }
    }

    init(
        label: String, configuration: LogConfiguration, sink: LogSink,
        now: @escaping @Sendable () -> timespec
    ) {
        self.label = label
        self.logLevel = configuration.level
        self.format = configuration.format
        self.sourceLocation = configuration.sourceLocation
        self.sink = sink
        self.now = now
    }

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { self.metadata[key] }
        set { self.metadata[key] = newValue }
    }

    package func log(event: LogEvent) {
        self.sink.write(line: self.line(for: event))
    }

    /// The line for an event, without line break.
    func line(for event: LogEvent) -> String {
        var fields: [String: String] = [:]
        if !self.label.isEmpty { fields["subsystem_name"] = self.label }
        for (key, value) in self.metadata { fields[key] = LineLogHandler.text(value) }
        if let provided = self.metadataProvider?.get() {
            for (key, value) in provided { fields[key] = LineLogHandler.text(value) }
        }
        for (key, value) in event.metadata ?? [:] { fields[key] = LineLogHandler.text(value) }
        if let error = event.error { fields["error"] = "\(error)" }
        if self.sourceLocation {
            fields["file"] = "\(event.file):\(event.line)"
            fields["func"] = event.function
        }
        let time = LineLogHandler.timestamp(self.now())
        let level = LineLogHandler.name(event.level)
        switch self.format {
        case .text:
            var line =
                "time=\"\(time)\" level=\(level) msg="
                + LogText.quotedIfNeeded(event.message.description)
            for (key, value) in fields.sorted(by: { $0.key < $1.key }) {
                line += " \(LogText.key(key))=" + LogText.quotedIfNeeded(value)
            }
            return line
        case .json:
            var members = fields
            for reserved in ["time", "level", "msg"] {
                if let value = members.removeValue(forKey: reserved) {
                    members["fields.\(reserved)"] = value
                }
            }
            members["time"] = time
            members["level"] = level
            members["msg"] = event.message.description
            let body = members.sorted { $0.key < $1.key }.map {
                LogText.json($0.key) + ":" + LogText.json($0.value)
            }
            return "{" + body.joined(separator: ",") + "}"
        }
    }

    private static func text(_ value: Logger.Metadata.Value) -> String {
        switch value {
        case .string(let text): return text
        case .stringConvertible(let value): return value.description
        case .array(let elements):
            return "[" + elements.map { text($0) }.joined(separator: " ") + "]"
        case .dictionary(let members):
            let body = members.sorted { $0.key < $1.key }.map { "\($0.key):" + text($0.value) }
            return "map[" + body.joined(separator: " ") + "]"
        }
    }

    private static func name(_ level: Logger.Level) -> String {
        switch level {
        case .critical: "fatal"
        case .error: "error"
        case .warning: "warning"
        case .notice, .info: "info"
        case .debug: "debug"
        case .trace: "trace"
        }
    }

    /// RFC 3339 in UTC with milliseconds.
    private static func timestamp(_ time: timespec) -> String {
        var seconds = time.tv_sec
        var parts = tm()
        gmtime_r(&seconds, &parts)
        func padded(_ number: Int, _ width: Int) -> String {
            let digits = String(number)
            return String(repeating: "0", count: max(0, width - digits.count)) + digits
        }
        return padded(Int(parts.tm_year) + 1900, 4) + "-" + padded(Int(parts.tm_mon) + 1, 2) + "-"
            + padded(Int(parts.tm_mday), 2) + "T" + padded(Int(parts.tm_hour), 2) + ":"
            + padded(Int(parts.tm_min), 2) + ":" + padded(Int(parts.tm_sec), 2) + "."
            + padded(Int(time.tv_nsec) / 1_000_000, 3) + "Z"
    }
}

/// Escaping of untrusted text for log lines.
enum LogText {
    /// The value as it is when it consists of harmless characters, else in double quotes with escapes.
    static func quotedIfNeeded(_ text: String) -> String {
        let harmless =
            !text.isEmpty
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."),
                    UInt8(ascii: "_"), UInt8(ascii: "/"), UInt8(ascii: "@"), UInt8(ascii: "^"),
                    UInt8(ascii: "+"):
                    true
                default: false
                }
            }
        return harmless ? text : LogText.json(text)
    }

    /// A key: bytes that could end it or begin another field become `_`.
    static func key(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            let harmless =
                !QuotedText.isControl(scalar) && scalar != " " && scalar != "=" && scalar != "\""
            result.unicodeScalars.append(harmless ? scalar : "_")
        }
        return result
    }

    /// A JSON string, which is also what the text format uses for quoted values.
    static func json(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\r": result += "\\r"
            case "\t": result += "\\t"
            default:
                if QuotedText.isControl(scalar) {
                    let digits = String(scalar.value, radix: 16)
                    result +=
                        "\\u" + String(repeating: "0", count: max(0, 4 - digits.count)) + digits
                } else {
                    result.unicodeScalars.append(scalar)
                }
            }
        }
        return result + "\""
    }
}
