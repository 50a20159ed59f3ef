import SPIFFE
import Testing

@Suite("JSON")
struct JSONValueTests {
    private struct Good: Sendable, CustomTestStringConvertible {
        let text: String
        let value: JSONValue
        var testDescription: String { self.text }
        init(_ text: String, _ value: JSONValue) {
            self.text = text
            self.value = value
        }
        static let all: [Good] = [
            Good("null", .null), Good("true", true), Good(" false\n", false), Good("0", 0),
            Good("-0", 0),
            Good("12", 12), Good("-12", -12), Good("9007199254740993", .int(9_007_199_254_740_993)),
            Good("9223372036854775807", .int(.max)), Good("-9223372036854775808", .int(.min)),
            Good("9223372036854775808", .uint(9_223_372_036_854_775_808)),
            Good("18446744073709551615", .uint(.max)),
            Good("18446744073709551616", .double(0x1p64)),
            Good("-9223372036854775809", .double(-0x1p63)),
            Good("1.5", .double(1.5)), Good("1e3", .double(1000)), Good("1E+3", .double(1000)),
            Good("-2.5e-1", .double(-0.25)), Good("1e-999", .double(0)),
            Good(#""""#, ""), Good(#""a""#, "a"), Good(#""é😀""#, "é😀"),
            Good(#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{08}\u{0C}\n\r\t"), Good(#""A\u00e9""#, "Aé"),
            Good(#""\ud83d\ude00""#, "😀"), Good(#""a\u0000b""#, "a\u{0}b"),
            Good("[]", []), Good("[ ]", []), Good("[1, [2] ,\t3]", [1, [2], 3]),
            Good("{}", [:]), Good(#"{ "a" : 1 , "b":{"c":[]}}"#, ["a": 1, "b": ["c": []]]),
            Good(#"{"":1}"#, ["": 1]),
        ]
    }

    @Test("accepted", arguments: Good.all)
    private func accepted(_ row: Good) throws {
        #expect(try JSONValue(parsing: row.text) == row.value)
        let written = row.value.serialized()
        #expect(try JSONValue(parsing: written) == row.value)
    }

    @Test(
        "refused",
        arguments: [
            "", " ", "nul", "nulll", "True", "undefined", "NaN", "Infinity", "01", "-", "-01", "+1",
            ".5", "1.",
            "1e", "1e+", "0x10", "1 2", "[1,]", "[,1]", "[1", "]", "{", "{\"a\"}", "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}", "{'a':1}", "{\"a\":1 \"b\":2}", "\"", "\"a", "\"\\x\"", "\"\\u12\"",
            "\"\\u12G4\"",
            "\"\n\"", "\"\u{1}\"", "[1]//", "/* */1", "\u{FEFF}1", "[1\u{A0}]",
        ])
    func refused(_ text: String) {
        #expect { try JSONValue(parsing: text) } throws: { ($0 as? JOSEError)?.code == .jsonSyntax }
    }

    @Test(
        "TRAP-22: names that occur twice are refused, also when spelt with escapes, also deep inside"
    )
    func duplicates() {
        for text in [#"{"a":1,"a":1}"#, #"{"a":1,"\u0061":2}"#, #"[{"x":{"b":1,"c":2,"b":3}}]"#] {
            #expect { try JSONValue(parsing: text) } throws: {
                ($0 as? JOSEError)?.code == .duplicateName
            }
        }
    }

    @Test("lone surrogates and bytes that are no UTF-8 are refused")
    func unicode() {
        for text in [#""\ud800""#, #""\udc00""#, #""\ud800\ud800""#, #""\ud800x""#, #""\ud83d\n""#]
        {
            #expect { try JSONValue(parsing: text) } throws: {
                ($0 as? JOSEError)?.code == .invalidUTF8
            }
        }
        let sequences: [[UInt8]] = [
            [0xFF], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xF5, 0x80, 0x80, 0x80], [0xC3],
        ]
        for sequence in sequences {
            #expect { try JSONValue(parsing: [0x22] + sequence + [0x22]) } throws: {
                ($0 as? JOSEError)?.code == .invalidUTF8
            }
        }
    }

    @Test("32 levels are allowed, 33 are not, and a million do not exhaust the stack")
    func depth() throws {
        func nested(_ levels: Int) -> String {
            String(repeating: "[", count: levels) + String(repeating: "]", count: levels)
        }
        _ = try JSONValue(parsing: nested(32))
        _ = try JSONValue(parsing: "[" + nested(31) + "," + nested(31) + "]")
        for levels in [33, 1_000_000] {
            #expect { try JSONValue(parsing: nested(levels)) } throws: {
                ($0 as? JOSEError)?.code == .tooDeep
            }
        }
    }

    @Test("a number too large for a double is refused")
    func range() {
        #expect { try JSONValue(parsing: "1e999") } throws: {
            ($0 as? JOSEError)?.code == .numberOutOfRange
        }
    }

    @Test("JWT-18: booleans are not numbers and numbers not booleans")
    func types() throws {
        #expect(try JSONValue(parsing: "true").numberValue == nil)
        #expect(try JSONValue(parsing: "1").boolValue == nil)
        #expect(try JSONValue(parsing: "-1").unsignedValue == nil)
        #expect(try JSONValue(parsing: "1.0").unsignedValue == nil)
    }

    @Test("writing is deterministic: names in byte order, nothing escaped that need not be")
    func writing() {
        let value: JSONValue = ["b": 1, "a": ["z": .null, "é": true, "Z": "/"], "": .double(2)]
        #expect(
            String(decoding: value.serialized(), as: UTF8.self)
                == #"{"":2.0,"a":{"Z":"/","z":null,"é":true},"b":1}"#)
        #expect(
            String(decoding: JSONValue.string("\"\\\n\u{1}\u{7F}").serialized(), as: UTF8.self)
                == "\"\\\"\\\\\\n\\u0001\u{7F}\"")
        #expect(JSONValue.double(.infinity).serialized() == Array("null".utf8))
    }

    @Test("no single changed, dropped or added byte crashes the parser")
    func robustness() {
        let text = Array(#"{"keys":[{"a":"\ud83d\ude00é","b":-1.5e+3,"c":[true,null]}]}"#.utf8)
        for index in text.indices {
            for byte in UInt8.min...UInt8.max {
                var changed = text
                changed[index] = byte
                _ = try? JSONValue(parsing: changed)
            }
            var shorter = text
            shorter.remove(at: index)
            _ = try? JSONValue(parsing: shorter)
            _ = try? JSONValue(parsing: Array(text[..<index]))
        }
    }
}

@Suite("Base64")
struct Base64Tests {
    @Test("round trip of every length up to 70")
    func roundTrip() throws {
        for length in 0...70 {
            let bytes = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 37 &+ length) }
            let url = Base64URL.encode(bytes)
            #expect(!url.contains("=") && !url.contains("+") && !url.contains("/"))
            #expect(try Base64URL.decode(url) == bytes)
            let standard = Base64.encode(bytes)
            #expect(standard.utf8.count.isMultiple(of: 4))
            #expect(try Base64.decode(standard) == bytes)
        }
    }

    @Test("RFC 4648 examples")
    func examples() throws {
        let rows = [
            ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="),
            ("foobar", "Zm9vYmFy"),
        ]
        for (plain, encoded) in rows {
            #expect(Base64.encode(Array(plain.utf8)) == encoded)
            #expect(Base64URL.encode(Array(plain.utf8)) == encoded.replacing("=", with: ""))
        }
        #expect(Base64URL.encode([0xFB, 0xFF]) == "-_8")
        #expect(Base64.encode([0xFB, 0xFF]) == "+/8=")
    }

    @Test(
        "JWT-01: base64url is strict",
        arguments: [
            "A", "AAAAA", "Zg==", "Zm8=", "+A", "/A", "Z g", "Zm9v\n", "Zh", "Zm9", "é", "Zg\u{0}A",
        ])
    func strictURL(_ text: String) {
        #expect(throws: JOSEError.self) { try Base64URL.decode(text) }
    }

    @Test(
        "X509-34: standard base64 is strict",
        arguments: [
            "Zg", "Zg=", "Zm8", "Z===", "====", "=", "Zm9v\n", "Zm\n9v", "Zh==", "-_8=", "Zg==Zg==",
            "Zm8==",
        ])
    func strictStandard(_ text: String) {
        #expect(throws: JOSEError.self) { try Base64.decode(text) }
    }

    @Test("every byte outside the alphabet is refused")
    func alphabet() {
        let url = Set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)
        for byte in UInt8.min...UInt8.max {
            let decoded = try? Base64URL.decode(utf8: [
                byte, UInt8(ascii: "A"), UInt8(ascii: "A"), UInt8(ascii: "A"),
            ])
            #expect((decoded != nil) == url.contains(byte))
        }
    }
}
