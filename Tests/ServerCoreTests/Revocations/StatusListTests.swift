import CZlib
import SPIFFE
import Testing

@testable import ServerCore

@Suite("status list") struct StatusListTests {
    /// Undoes what ``StatusBits/compressed(level:)`` does.
    static func inflate(_ bytes: [UInt8], count: Int) -> [UInt8]? {
        var length = uLongf(count)
        var output = [UInt8](repeating: 0, count: count)
        let status = uncompress(&output, &length, bytes, uLong(bytes.count))
        return status == Z_OK ? Array(output.prefix(Int(length))) : nil
    }

    @Test(
        "the standard's vectors: the same bytes before compression", arguments: StatusListVector.all
    )
    func vectors(vector: StatusListVector) throws {
        var list = StatusBits(bitsPerPlace: vector.bits, places: vector.places)
        for (place, value) in vector.values { list.set(value, at: place) }
        #expect(list.places == vector.places)
        let standard = Self.inflate(
            try Base64URL.decode(vector.encoded), count: list.bytes.count + 1)
        #expect(list.bytes == standard)
        for (place, value) in vector.values { #expect(list[place] == value) }
        for level: Int32 in [1, 6, 9] {
            #expect(
                Self.inflate(try list.compressed(level: level), count: list.bytes.count + 1)
                    == list.bytes)
        }
    }

    @Test("places outside of the list hold nothing and take nothing")
    func outside() {
        var list = StatusBits(bitsPerPlace: 2, places: 5)
        #expect(list.places == 8 && list.bytes == [0, 0])
        for place in [-1, 8, .max, .min] {
            list.set(3, at: place)
            #expect(list[place] == nil)
        }
        #expect(list.bytes == [0, 0])
        list.set(0xFF, at: 1)
        #expect(list.bytes == [0b1100, 0])
        list.set(0, at: 1)
        #expect(list.bytes == [0, 0])
    }

    @Test("two bits: 1 is taken back, 2 is suspended, and what is lifted is 0 again")
    func marks() throws {
        var list = StatusListBuilder()
        #expect(try list.update([3: true, 4: false, 1_000_000: true], tokens: 0))
        #expect(list[3] == 1 && list[4] == 2 && list[5] == 0 && list[1_000_000] == 1)
        #expect(try !list.update([1_000_000: true, 4: false, 3: true], tokens: 0))
        #expect(try list.update([4: true], tokens: 0))
        #expect(list[3] == 0 && list[4] == 1 && list[1_000_000] == 0)
        #expect(try list.update([:], tokens: 0))
        #expect(list[4] == 0)
    }

    @Test("there is always room for as many tokens again, and what is marked stays marked")
    func grows() throws {
        var list = StatusListBuilder()
        #expect(list.places == 1 << 20 && !list.isTooShort(for: 1 << 19))
        _ = try list.update([7: false], tokens: 0)
        #expect(list.isTooShort(for: 1 << 19 + 1))
        #expect(try list.update([7: false], tokens: 1 << 19 + 1))
        #expect(list.places == 1 << 21 && list[7] == 2)
        // A place beyond the end counts as one that was given.
        #expect(try list.update([1 << 21: true], tokens: 0))
        #expect(list.places == 1 << 23 && list[1 << 21] == 1 && list[7] == 0)
    }

    @Test("a place that no list has is an error, and the others are marked all the same")
    func tooFar() throws {
        var list = StatusListBuilder()
        #expect(throws: ServerError.self) {
            try list.update(
                [Int64(StatusListBuilder.mostPlaces): true, 2: true, -5: true], tokens: 0)
        }
        #expect(list[2] == 1)
    }

    @Test("the claims of the token")
    func claims() throws {
        var list = StatusListBuilder()
        _ = try list.update([0: true, 2: false], tokens: 0)
        let claims = try JSONValue(
            parsing: try list.claims(
                uri: "https://acme.test/statuslist", issuer: "https://acme.test",
                issuedAt: 100, expiresAt: 400, timeToLive: 150))
        #expect(
            claims["sub"] == "https://acme.test/statuslist" && claims["iss"] == "https://acme.test")
        #expect(claims["iat"] == 100 && claims["exp"] == 400 && claims["ttl"] == 150)
        #expect(claims["status_list"]?["bits"] == 2)
        let encoded = try #require(claims["status_list"]?["lst"]?.stringValue)
        let bytes = try #require(
            Self.inflate(try Base64URL.decode(encoded), count: list.places / 4 + 1))
        #expect(bytes.count == list.places / 4 && bytes[0] == 0b10_0001)
        #expect(bytes.dropFirst().allSatisfy { $0 == 0 })
        let without = try JSONValue(
            parsing: try list.claims(
                uri: "u", issuer: nil, issuedAt: 1, expiresAt: 2, timeToLive: 1))
        #expect(without["iss"] == nil)
    }
}
