import Foundation
import SPIFFE
import Testing

/// One row of `Vectors/spiffe-id-vectors.json`.
struct SPIFFEIDVector: Decodable, Sendable, CustomTestStringConvertible {
    let kind: String
    let input: String
    let valid: Bool
    let trustDomain: String?
    let path: String?
    let why: String
    /// Set where documents or implementations differ, so that either answer conforms.
    let ambiguous: String?

    var testDescription: String {
        "\(self.kind) \(self.input.debugDescription.prefix(80)): \(self.why)"
    }

    static let all: [SPIFFEIDVector] = {
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent("Vectors/spiffe-id-vectors.json")
        do {
            return try JSONDecoder().decode([SPIFFEIDVector].self, from: Data(contentsOf: file))
        } catch {
            Issue.record("vectors cannot be read: \(error)")
            return []
        }
    }()
}

@Suite("SPIFFE ID vectors")
struct SPIFFEIDVectorTests {
    @Test("all 255 vectors are there")
    func count() {
        #expect(SPIFFEIDVector.all.count == 255)
    }

    @Test(
        "ID-01 ID-03 ID-04 ID-05 ID-06 ID-08 to ID-14 ID-16 to ID-21: vector",
        arguments: SPIFFEIDVector.all)
    func vector(_ vector: SPIFFEIDVector) throws {
        switch vector.kind {
        case "id":
            let id = try? SPIFFEID(vector.input)
            // Longer IDs need not be accepted (ID-14); here they are not, neither in nor out.
            if vector.input.utf8.count > 2048 {
                #expect(id == nil && vector.ambiguous != nil)
                return
            }
            #expect((id != nil) == vector.valid)
            #expect(id?.trustDomain.name == vector.trustDomain)
            #expect(id?.path == vector.path)
            if let id { #expect(Array(id.string.utf8) == Array(vector.input.utf8)) }
        case "trustDomain":
            let trustDomain = try? TrustDomain(vector.input)
            #expect((trustDomain != nil) == vector.valid)
            #expect(trustDomain?.name == vector.trustDomain)
        case "trustDomainOrID":
            let trustDomain = try? TrustDomain(nameOrID: vector.input)
            #expect((trustDomain != nil) == vector.valid)
            #expect(trustDomain?.name == vector.trustDomain)
        default:
            Issue.record("unknown kind \(vector.kind)")
        }
    }
}
