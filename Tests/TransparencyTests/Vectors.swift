import Foundation
import Testing
import Transparency

/// `Vectors/vectors.json`, which a Python program computed without our code.
struct Vectors: Decodable, Sendable {
    struct Inclusion: Decodable, Sendable {
        let index: UInt64
        let size: UInt64
        let path: [String]
    }
    struct Consistency: Decodable, Sendable {
        let old: UInt64
        let new: UInt64
        let path: [String]
    }
    struct Note: Decodable, Sendable {
        let source: String
        let key: String
        let note: String
    }
    struct Number: Decodable, Sendable {
        let bits: String
        let text: String
    }
    let ctLeaves: [String]
    let ctRoots: [String]
    let roots: [String: String]
    let inclusion: [Inclusion]
    let consistency: [Consistency]
    let logs: [String: String]
    let logSeed: String
    let logKey: String
    let otherKey: String
    let witnessSeeds: [String]
    let witnessKeys: [String]
    let checkpoint: String
    let cosigned: String
    let extended: String
    let proof: String
    let proofWithoutExtra: String
    let requests: [String: String]
    let notes: [Note]
    let numbers: [Number]

    static func load() throws -> Vectors {
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("Vectors/vectors.json")
        return try JSONDecoder().decode(Vectors.self, from: Data(contentsOf: file))
    }

    func log() throws -> NoteSigner {
        try NoteSigner(
            name: NoteKeyName("ledger.example/log"), algorithm: .ed25519,
            seed: #require(Hex.decode(self.logSeed)))
    }

    func witness(_ number: Int) throws -> NoteSigner {
        try NoteSigner(
            name: NoteKeyName("witness.example/w\(number)"), algorithm: .cosignature,
            seed: #require(Hex.decode(self.witnessSeeds[number - 1])))
    }

    func request(_ name: String) throws -> [UInt8] {
        Array(try #require(self.requests[name]).utf8)
    }
}

/// The leaf with this number in the vectors' logs.
func numberedLeaf(_ number: UInt64) -> [UInt8] { Array("leaf \(number)".utf8) }

/// The code with which something is refused; nil when it is not.
func refusal(_ body: () throws -> Void) -> TransparencyError.Code? {
    do {
        try body()
        return nil
    } catch let error as TransparencyError {
        return error.code
    } catch {
        Issue.record("another error: \(error)")
        return nil
    }
}
