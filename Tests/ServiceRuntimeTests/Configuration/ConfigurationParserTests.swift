import Testing

@testable import ServiceRuntime

/// A text and the tree it gives, written as JSON.
struct TreeCase: Sendable, CustomTestStringConvertible {
    let name: String
    let text: String
    let want: String
    var testDescription: String { self.name }

    init(_ name: String, _ text: String, _ want: String) {
        self.name = name
        self.text = text
        self.want = want
    }

    static let accepted: [TreeCase] = [
        .init("empty file", "", "{}"),
        .init("attribute", "a = \"b\"", #"{"a":"b"}"#),
        .init(
            "numbers", "a = 8081\nb = -1\nc = 1.5e3\nd = 0x1F",
            #"{"a":8081,"b":-1,"c":1.5e3,"d":0x1F}"#),
        .init("booleans", "a = true\nb = false", #"{"a":true,"b":false}"#),
        .init("comments", "# x\n// y\n/* z\n */ a /* w */ = 1 # end", #"{"a":1}"#),
        .init(
            "nested blocks", "server {\n  ratelimit { signing = false }\n}",
            #"{"server":{"ratelimit":{"signing":false}}}"#),
        .init("block with equals", "a = { b = 1 }", #"{"a":{"b":1}}"#),
        .init(
            "label", "KeyManager \"disk\" { plugin_data { } }",
            #"{"KeyManager":{"disk":{"plugin_data":{}}}}"#),
        .init("two labels", "a \"b\" \"c\" { d = 1 }", #"{"a":{"b":{"c":{"d":1}}}}"#),
        .init("quoted key", "\"a b\" = 1", #"{"a b":1}"#),
        .init("list over lines", "a = [\n 1,\n \"x\",\n]", #"{"a":[1,"x"]}"#),
        .init("list of blocks", "a = [{ b = 1 }, { b = 2 }]", #"{"a":[{"b":1},{"b":2}]}"#),
        .init("commas in a map", "a = { b = 1, c = 2 }", #"{"a":{"b":1,"c":2}}"#),
        .init(
            "escapes", #"a = "q\"b\\s\nn\tt\u00e9\U0001F600\x41\101""#,
            #"{"a":"q\"b\\s\nn\tté😀AA"}"#),
        .init("interpolation stays", #"a = "x${b("c")}y""#, #"{"a":"x${b(\"c\")}y"}"#),
        .init("heredoc", "a = <<EOT\n one\n  two\nEOT\nb = 1", #"{"a":" one\n  two\n","b":1}"#),
        .init(
            "indented heredoc", "a = <<-EOT\n    one\n      two\n    EOT\n",
            #"{"a":"one\n  two\n"}"#),
        .init("carriage returns", "a = 1\r\nb = <<E\r\nx\r\nE\r\n", #"{"a":1,"b":"x\n"}"#),
        .init("byte order mark", "\u{FEFF}a = 1", #"{"a":1}"#),
        .init(
            "JSON", #" {"a": {"b": [1, "x", true, null, {}]}}"#,
            #"{"a":{"b":[1,"x",true,null,{}]}}"#),
        .init("JSON escapes", #"{"a": "\u00e9\ud83d\ude00\/\b"}"#, "{\"a\":\"é😀/\\u0008\"}"),
    ]
}

/// A text that is refused, with part of the message.
struct RefusalCase: Sendable, CustomTestStringConvertible {
    let name: String
    let text: String
    let code: ConfigurationError.Code
    let message: String
    var testDescription: String { self.name }

    init(
        _ name: String, _ text: String, _ code: ConfigurationError.Code = .syntax,
        _ message: String = ""
    ) {
        self.name = name
        self.text = text
        self.code = code
        self.message = message
    }

    static let all: [RefusalCase] = [
        .init("block not closed", "a {\n b = 1\n", .syntax, "f:1, column 3"),
        .init("brace too many", "a = 1\n}", .syntax, "f:2"),
        .init("string not closed", "a = \"b\nc = 1", .syntax, "f:1"),
        .init("string at the end", "a = \"b"),
        .init("list not closed", "a = [1, 2", .syntax, "list opened here"),
        .init("list without comma", "a = [1 2]", .syntax, "expected \",\" or \"]\""),
        .init("word as value", "a = yes", .syntax, "text needs double quotes"),
        .init("key without value", "a\n", .syntax, "after key \"a\""),
        .init(
            "equals missing", "trust_domain \"x\"\nport = 1", .syntax, "after key \"trust_domain\""),
        .init("value without key", "= 1", .syntax, "expected a key"),
        .init("block without key", "{}x", .syntax, "expected the end"),
        .init("number with letters", "a = 12ab", .syntax, "is not a number"),
        .init("two points", "a = 1.2.3", .syntax, "is not a number"),
        .init("lone minus", "a = -", .syntax, "is not a number"),
        .init("unknown escape", #"a = "\q""#, .syntax, "unknown escape"),
        .init("short escape", #"a = "\u12""#, .syntax, "hexadecimal"),
        .init("surrogate escape", #"a = "\ud800""#, .syntax, "no Unicode character"),
        .init("NUL escape", #"a = "\u0000""#, .syntax, "NUL"),
        .init("comment not closed", "/* a", .syntax, "comment is not closed"),
        .init("heredoc not closed", "a = <<E\nx\n", .syntax, "heredoc"),
        .init("heredoc without word", "a = <<\n", .syntax, "<<"),
        .init("single less-than", "a = <b", .syntax, "expected a value"),
        .init("deep blocks", String(repeating: "a {", count: 100), .tooDeep),
        .init("deep lists", "a = " + String(repeating: "[", count: 100_000), .tooDeep),
        .init("many labels", "a" + String(repeating: " \"b\"", count: 100) + " {}", .tooDeep),
        .init("deep JSON", String(repeating: #"{"a":"#, count: 100_000), .tooDeep),
        .init("JSON comma at the end", #"{"a": 1,}"#, .syntax, "expected a key"),
        .init("JSON comment", "{ // x\n}", .syntax, "expected a key"),
        .init("JSON leading zero", #"{"a": 01}"#, .syntax, "not a JSON number"),
        .init("JSON half surrogate", #"{"a": "\ud83d"}"#, .syntax, "surrogate"),
        .init("JSON control character", "{\"a\": \"\n\"}", .syntax, "control character"),
        .init("JSON word", #"{"a": nil}"#, .syntax, "expected a JSON value"),
        .init("JSON not closed", #"{"a": {"#),
    ]
}

@Suite struct ConfigurationParserTests {
    @Test(arguments: TreeCase.accepted) func givesTheTree(_ row: TreeCase) throws {
        let document = try ConfigurationDocument(parsing: Array(row.text.utf8), file: "f")
        var text = ""
        JSONLine.append(document.root.value, to: &text)
        #expect(text == row.want)
    }

    @Test(arguments: RefusalCase.all) func refuses(_ row: RefusalCase) {
        let error = #expect(throws: ConfigurationError.self) {
            try ConfigurationDocument(parsing: Array(row.text.utf8), file: "f")
        }
        #expect(error?.code == row.code)
        #expect(
            error?.message.contains(row.message) == true || row.message.isEmpty, "\(error as Any)")
    }

    @Test func knowsLinesAndColumns() throws {
        let text = "# first\nserver {\n  a = 1\n  bc = \"x\"\n}\n"
        let document = try ConfigurationDocument(parsing: Array(text.utf8), file: "server.conf")
        guard case .object(let top) = document.root.value,
            case .object(let inner) = top[0].node.value
        else {
            Issue.record("no blocks")
            return
        }
        #expect(top[0].location == SourceLocation(file: "server.conf", line: 2, column: 1))
        #expect(inner[1].location == SourceLocation(file: "server.conf", line: 4, column: 3))
        #expect(inner[1].node.location == SourceLocation(file: "server.conf", line: 4, column: 8))
    }

    @Test func refusesTextThatIsNoUTF8() {
        for bytes in [[0x61, 0x3D, 0x22, 0xFF, 0x22], [0xC3, 0x28]] as [[UInt8]] {
            #expect(throws: ConfigurationError.self) {
                try ConfigurationDocument(parsing: bytes, file: "f")
            }
        }
    }

    @Test func refusesLargeFiles() {
        let bytes = [UInt8](repeating: 0x20, count: ConfigurationDocument.maximumSize + 1)
        let error = #expect(throws: ConfigurationError.self) {
            try ConfigurationDocument(parsing: bytes, file: "f")
        }
        #expect(error?.code == .tooLarge)
    }

    /// Every byte at every place of a small file gives a tree or an error, and never a trap.
    @Test func survivesEveryByteEverywhere() {
        let samples = [
            "a \"b\" { c = [1, \"\\u0041\", <<E\nx\nE\n] /* d */ }",
            #"{"a": [1, "\u0041", true], "b": {}}"#,
        ]
        for sample in samples {
            let bytes = Array(sample.utf8)
            for place in bytes.indices {
                for byte in UInt8.min...UInt8.max {
                    var changed = bytes
                    changed[place] = byte
                    _ = try? ConfigurationDocument(parsing: changed, file: "f")
                }
                _ = try? ConfigurationDocument(parsing: Array(bytes[..<place]), file: "f")
                _ = try? ConfigurationDocument(parsing: Array(bytes[place...]), file: "f")
            }
        }
    }
}
