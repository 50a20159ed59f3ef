import Testing
import Transparency

@Suite("Times in leaves")
struct LeafTimeTests {
    @Test(
        "times that Python's datetime agrees with",
        arguments: [
            (0, "1970-01-01T00:00:00Z"), (1_700_000_000_000, "2023-11-14T22:13:20Z"),
            (1_709_164_800_000, "2024-02-29T00:00:00Z"), (951_782_400_000, "2000-02-29T00:00:00Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00Z"), (-1000, "1969-12-31T23:59:59Z"),
            (-1, "1969-12-31T23:59:59.999Z"), (1, "1970-01-01T00:00:00.001Z"),
            (1_700_000_000_050, "2023-11-14T22:13:20.050Z"),
            (-62_135_596_800_000, "0001-01-01T00:00:00Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        ] as [(Int64, String)])
    func both(milliseconds: Int64, text: String) {
        #expect(LeafTime(milliseconds: milliseconds).description == text)
        #expect(LeafTime(parsing: text)?.milliseconds == milliseconds)
    }

    @Test("days of 400 years, of every month and weekday, follow the ones before them")
    func days() throws {
        var last = ""
        for day in stride(from: Int64(0), to: 146_097, by: 16) {
            let time = LeafTime(seconds: day * 86_400)
            let text = time.description
            #expect(text > last && LeafTime(parsing: text) == time)
            last = text
        }
        #expect(last == "2369-12-31T00:00:00Z")
    }

    @Test("numbers out of range become the nearest year there is")
    func extremes() {
        for value in [Int64.min, Int64.max] {
            let text = LeafTime(milliseconds: value).description
            #expect(text == (value < 0 ? "0001-01-01T00:00:00Z" : "9999-12-31T23:59:59.999Z"))
            #expect(LeafTime(seconds: value).description == text)
        }
    }

    @Test("a fraction may have one to nine digits")
    func fractions() {
        #expect(LeafTime(parsing: "1970-01-01T00:00:01.5Z")?.milliseconds == 1500)
        #expect(LeafTime(parsing: "1970-01-01T00:00:01.123456789Z")?.milliseconds == 1123)
    }

    @Test(
        "what is no time in UTC is refused",
        arguments: [
            "", "Z", "1970-01-01", "1970-01-01T00:00:00", "1970-01-01T00:00:00z",
            "1970-01-01t00:00:00Z",
            "1970-01-01 00:00:00Z", "1970-01-01T00:00:00+00:00", "1970-1-1T00:00:00Z",
            "1970-00-01T00:00:00Z",
            "1970-13-01T00:00:00Z", "1970-01-00T00:00:00Z", "1970-01-32T00:00:00Z",
            "1970-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z", "1970-04-31T00:00:00Z", "1970-01-01T24:00:00Z",
            "1970-01-01T00:60:00Z",
            "1970-01-01T00:00:60Z", "0000-01-01T00:00:00Z", "1970-01-01T00:00:00.Z",
            "1970-01-01T00:00:00,5Z",
            "1970-01-01T00:00:00.1234567890Z", "1970-01-01T00:00:00.-5Z", "+970-01-01T00:00:00Z",
            "١٩٧٠-01-01T00:00:00Z", "1970-01-01T00:00:00.5ZZ", " 1970-01-01T00:00:00Z",
        ])
    func malformed(text: String) {
        #expect(LeafTime(parsing: text) == nil)
    }
}
