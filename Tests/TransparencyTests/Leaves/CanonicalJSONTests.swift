import SPIFFE
import Testing
import Transparency

@Suite("Canonical JSON")
struct CanonicalJSONTests {
    private func canonical(_ text: String) throws -> String {
        String(decoding: try CanonicalJSON.encode(JSONValue(parsing: text)), as: UTF8.self)
    }

    @Test("numbers of RFC 8785 appendix B")
    func numbers() throws {
        let vectors = try Vectors.load()
        #expect(vectors.numbers.count == 24)
        for vector in vectors.numbers {
            let value = Double(bitPattern: try #require(UInt64(vector.bits, radix: 16)))
            let text = String(decoding: try CanonicalJSON.encode(.double(value)), as: UTF8.self)
            #expect(text == vector.text, "\(vector.bits)")
        }
        for value in [Double.nan, .infinity, -.infinity] {
            #expect(refusal { _ = try CanonicalJSON.encode(.double(value)) } == .notCanonical)
        }
    }

    @Test(
        "numbers as JSON texts have them",
        arguments: [
            ("4.50", "4.5"), ("2e-3", "0.002"), ("0.000000000000000000000000001", "1e-27"),
            ("1E30", "1e+30"),
            ("333333333.33333329", "333333333.3333333"), ("-0", "0"), ("-0.0", "0"), ("1.0", "1"),
            ("100", "100"), ("-17", "-17"), ("9007199254740992", "9007199254740992"),
            ("9007199254740993", "9007199254740992"), ("-9007199254740993", "-9007199254740992"),
            ("18446744073709551615", "18446744073709552000"), ("123456.789", "123456.789"),
            ("1e20", "100000000000000000000"), ("123e19", "1.23e+21"), ("0.00001", "0.00001"),
            ("0.00000123", "0.00000123"), ("0.000000123", "1.23e-7"),
        ])
    func texts(text: String, expected: String) throws {
        #expect(try self.canonical(text) == expected)
    }

    @Test("strings have the fewest escapes")
    func strings() throws {
        // The string of RFC 8785 §3.2.2.
        #expect(
            try self.canonical(#""\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/""#)
                == #""€$\u000f\nA'B\"\\\\\"/""#)
        #expect(
            try self.canonical(#""\b\t\f\r\u0000\u001f\u007f""#)
                == "\"\\b\\t\\f\\r\\u0000\\u001f\u{7f}\"")
        // Not normalised: an accent stays where it is.
        let text = try self.canonical(#""e\u0301\u00e9""#)
        #expect(Array(text.utf8) == [0x22, 0x65, 0xCC, 0x81, 0xC3, 0xA9, 0x22])
    }

    @Test("members are ordered by UTF-16 units, not by bytes or characters")
    func order() throws {
        // RFC 8785 §3.2.3: the emoji's surrogate comes before U+FB33.
        let text = """
            {"\\u20ac":1,"\\r":2,"\\ufb33":3,"1":4,"\\ud83d\\ude00":5,"\\u0080":6,"\\u00f6":7}
            """
        #expect(
            try self.canonical(text)
                == "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"\u{F6}\":7,\"\u{20AC}\":1,\"\u{1F600}\":5,\"\u{FB33}\":3}"
        )
        #expect(
            try self.canonical(#"{ "b" : [ true , null, { } ], "a":{"y":[],"x":"" }, "A":false }"#)
                == #"{"A":false,"a":{"x":"","y":[]},"b":[true,null,{}]}"#)
    }

    @Test("what is canonical is recognised")
    func recognised() {
        #expect(CanonicalJSON.isCanonical(Array(#"{"a":1,"b":"€"}"#.utf8)))
        for text in [
            #"{"b":1,"a":2}"#, #"{"a": 1}"#, #"{"a":1.0}"#, #"{"a":"\u20ac"}"#, #"{"a":1}"# + "\n",
            "",
            #"{"a":1,"a":1}"#, #"{"a":9007199254740993}"#,
        ] {
            #expect(!CanonicalJSON.isCanonical(Array(text.utf8)), "\(text)")
        }
    }

    @Test("JSON nested without end is refused, not followed")
    func nesting() {
        for text in [
            String(repeating: "[", count: 60_000), String(repeating: "{\"a\":", count: 10_000),
            String(repeating: "[", count: 30_000) + String(repeating: "]", count: 30_000),
        ] {
            #expect(!CanonicalJSON.isCanonical(Array(text.utf8)))
            #expect(refusal { _ = try Leaf(parsing: Array(text.utf8)) } == .malformedLeaf)
        }
    }
}
