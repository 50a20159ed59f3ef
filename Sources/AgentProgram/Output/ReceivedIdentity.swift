import Foundation
import SPIFFE
import ServiceRuntime
import SwiftASN1
import WorkloadAPIProto
import X509

/// One X509-SVID of a Workload API message, parsed, with the bundles that came along.
struct ReceivedIdentity: Sendable {
    let svid: SPIFFE.X509SVID
    let bundle: X509Bundle
    /// By trust domain name, sorted.
    let federated: [X509Bundle]

    /// Parses every identity of a message.
    ///
    /// - Throws: ``CommandError`` when one of them is malformed; the agent should never send such.
    static func all(in response: X509SVIDResponse) throws(CommandError) -> [ReceivedIdentity] {
        do {
            let federated = try response.federatedBundles.map { name, der in
                try X509Bundle(
                    trustDomain: try TrustDomain(nameOrID: name), concatenatedDER: Array(der))
            }.sorted { $0.trustDomain < $1.trustDomain }
            return try response.svids.map { message in
                let svid = try SPIFFE.X509SVID(
                    certificateChainDER: Array(message.x509Svid),
                    privateKeyPKCS8DER: Array(message.x509SvidKey), hint: message.hint)
                let bundle = try X509Bundle(
                    trustDomain: svid.id.trustDomain, concatenatedDER: Array(message.bundle))
                return ReceivedIdentity(svid: svid, bundle: bundle, federated: federated)
            }
        } catch {
            throw CommandError(
                "the agent's answer cannot be read: \(TerminalText.safe("\(error)"))")
        }
    }

    /// Verifies the chain against the bundle that came with it.
    func verify() async throws(CommandError) {
        let source = X509BundleSet([self.bundle])
        do {
            _ = try await X509SVIDVerifier(bundles: source).verify(
                chainDER: self.svid.certificateChainDER)
        } catch {
            throw CommandError(
                "the X509-SVID of \(self.svid.id.string) does not verify: \(TerminalText.safe("\(error)"))"
            )
        }
    }

    /// The text form: labels, tabs, times in UTC.
    var text: String {
        var lines = ["SPIFFE ID:\t\t\(self.svid.id.string)"]
        if !self.svid.hint.isEmpty {
            lines.append("Hint:\t\t\t\(TerminalText.safe(self.svid.hint))")
        }
        func add(_ label: String, _ certificate: Certificate) {
            lines.append(
                "\(label) Valid After:\t\(ReceivedIdentity.time(certificate.notValidBefore))")
            lines.append(
                "\(label) Valid Until:\t\(ReceivedIdentity.time(certificate.notValidAfter))")
        }
        for (index, certificate) in self.svid.certificates.enumerated() {
            add(index == 0 ? "SVID" : "Intermediate #\(index)", certificate)
        }
        for (index, certificate) in self.bundle.authorities.enumerated() {
            add("CA #\(index + 1)", certificate)
        }
        for bundle in self.federated {
            for (index, certificate) in bundle.authorities.enumerated() {
                add("[\(bundle.trustDomain.name)] CA #\(index + 1)", certificate)
            }
        }
        return lines.joined(separator: "\n") + "\n"
    }

    /// Writes `svid.N.pem`, `svid.N.key`, `bundle.N.pem` and `federated_bundle.N.M.pem`.
    func write(number: Int, to directory: String, _ context: CommandContext) throws(FileError) {
        func certificates(_ list: [[UInt8]]) -> String {
            list.map { PEMDocument(type: "CERTIFICATE", derBytes: $0).pemString + "\n" }.joined()
        }
        let key =
            PEMDocument(type: "PRIVATE KEY", derBytes: self.svid.privateKeyDER).pemString + "\n"
        var files: [(what: String, name: String, text: String, mode: UInt32)] = [
            (
                "SVID #\(number)", "svid.\(number).pem",
                certificates(self.svid.certificateChainDER), 0o644
            ),
            ("key #\(number)", "svid.\(number).key", key, 0o600),
            (
                "bundle #\(number)", "bundle.\(number).pem",
                certificates(self.bundle.authoritiesDER), 0o644
            ),
        ]
        for (index, bundle) in self.federated.enumerated() {
            files.append(
                (
                    "federated bundle #\(index) for trust domain \(bundle.trustDomain.name)",
                    "federated_bundle.\(number).\(index).pem", certificates(bundle.authoritiesDER),
                    0o644
                ))
        }
        for file in files {
            let path = "\(directory)/\(file.name)"
            try AtomicFile.write(file.text.utf8, to: path, mode: file.mode)
            context.print("Writing \(file.what) to file \(path).")
        }
    }

    private static func time(_ date: Date) -> String {
        GoTime.utc(Int64(date.timeIntervalSince1970.rounded(.down)))
    }
}
