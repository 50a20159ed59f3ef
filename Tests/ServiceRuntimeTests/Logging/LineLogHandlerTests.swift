import Foundation
import Logging
import Testing

@testable import ServiceRuntime

@Suite struct LineLogHandlerTests {
    private func line(
        _ format: LogFormat, _ message: String, _ metadata: Logger.Metadata, label: String = "api"
    ) -> String {
        let handler = LineLogHandler(
            label: label, configuration: LogConfiguration(format: format), sink: LogSink()
        ) { timespec(tv_sec: 1_700_000_000, tv_nsec: 42_000_000) }
        return handler.line(
            for: LogEvent(
                level: .warning, message: "\(message)", metadata: metadata, source: nil, file: "f",
                function: "g", line: 1))
    }

    @Test func writesTextLikeLogrus() {
        let line = self.line(.text, "started", ["b": "x y", "a": "spiffe", "c": ""])
        #expect(
            line == """
                time="2023-11-14T22:13:20.042Z" level=warning msg=started a=spiffe b="x y" c="" \
                subsystem_name=api
                """)
    }

    @Test func writesJSON() {
        let line = self.line(.json, "started \"x\"", ["level": "mine"], label: "")
        #expect(
            line == #"{"fields.level":"mine","level":"warning","msg":"started \"x\"","#
                + #""time":"2023-11-14T22:13:20.042Z"}"#)
    }

    @Test(arguments: LogFormat.allCases) func letsNoValueBeginALine(_ format: LogFormat) {
        let nasty = "x\ntime=\"now\" level=error\r\u{2028}\u{0}\u{1B}[31m\u{202E}\u{85}"
        let line = self.line(format, nasty, ["key\n": "\(nasty)", "a=b c": "\(nasty)"])
        for scalar in line.unicodeScalars { #expect(!QuotedText.isControl(scalar)) }
        #expect(!line.contains("\n") && !line.contains("\r"))
    }

    @Test func appendsToAFileAndReopensIt() throws {
        let directory = NSTemporaryDirectory() + "/log-\(UUID().uuidString)"
        try DirectoryPath.make(directory, mode: 0o700)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let path = directory + "/a.log"
        let system = try LogSystem(LogConfiguration(file: path))
        system.logger().info("one")
        system.logger().debug("not shown")
        try FileManager.default.moveItem(atPath: path, toPath: path + ".1")
        system.logger().info("two")
        try system.sink.reopen()
        system.logger().info("three")
        let old = String(decoding: try BoundedFile.read(path + ".1", limit: 10_000), as: UTF8.self)
        let new = String(decoding: try BoundedFile.read(path, limit: 10_000), as: UTF8.self)
        #expect(old.contains("msg=one\n") && old.contains("msg=two\n") && !old.contains("shown"))
        #expect(new.contains("msg=three\n") && !new.contains("two"))
    }
}
