import Foundation
import SPIFFE
import Transparency

/// The statements about one transaction, in the order in which they were recorded, for people.
struct CustodyChain {
    /// A statement that is in the ledger.
    struct Link {
        let index: UInt64
        let recordedAt: LeafTime
        let leaf: CustodyLeaf
        let statement: SignedCustodyStatement
        let receipt: CustodyReceipt?
    }

    let links: [Link]

    /// - Parameter leaves: those of a ledger that holds.
    /// - Throws: ``LaptopError`` that names the leaf whose statement or receipt does not hold.
    init(_ leaves: [(index: UInt64, leaf: Leaf)]) throws {
        self.links = try leaves.compactMap { index, leaf in
            guard case .custodyRecorded(let custody) = leaf.event else { return nil }
            do {
                let (statement, receipt) = try custody.verified()
                return Link(
                    index: index, recordedAt: leaf.time, leaf: custody, statement: statement,
                    receipt: receipt)
            } catch {
                throw LaptopError(message: "leaf \(index): the statement does not hold: \(error)")
            }
        }
    }

    /// One line for each statement: index, a tab, and what it says.
    var lines: [String] {
        self.links.map { link in
            let statement = link.statement.statement
            let time = LeafTime(seconds: Int64(statement.time.timeIntervalSince1970))
            var line = "\(link.index)\t\(time)  \(link.statement.signer) did \(statement.action)"
            if let peer = statement.peer { line += " towards \(peer)" }
            if let receipt = link.receipt {
                line += ", countersigned by \(receipt.signer)"
            }
            if let digest = statement.detailsSHA256 {
                line += ", details \(Hex.encode(digest))"
            }
            return line + " (certificate \(link.leaf.serial), recorded \(link.recordedAt))"
        }
    }
}

/// Proofs of several leaves, as files.
enum LeafProofs {
    /// Writes `<index>.tlog-proof` for each leaf into a folder, which is made when it is missing.
    ///
    /// - Throws: ``LaptopError`` when a file cannot be written.
    static func write(
        _ indexes: [UInt64], of reader: any TileReader, _ signed: SignedCheckpoint,
        into folder: String
    ) async throws {
        let builder = ProofBuilder(reader, checkpoint: signed)
        for index in indexes {
            let proof = try await builder.proof(ofLeaf: index)
            let place = URL(fileURLWithPath: folder, isDirectory: true)
            do {
                try FileManager.default.createDirectory(
                    at: place, withIntermediateDirectories: true)
                try Data(proof.bytes).write(
                    to: place.appendingPathComponent("\(index).tlog-proof"), options: .atomic)
            } catch {
                throw LaptopError(
                    message: "cannot write to \(folder): \(error.localizedDescription)")
            }
        }
        LedgerOutput.note("\(indexes.count) proofs written to \(folder)")
    }
}
