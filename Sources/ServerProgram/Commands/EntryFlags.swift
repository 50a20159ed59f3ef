import ArgumentParser
import ControlPlaneProto
import SPIFFE
import ServiceRuntime
import SwiftProtobuf

/// The flags that `entry create` and `entry update` share.
struct EntryFlags: ParsableArguments {
    @Option(name: .go("entryID"), parsing: .unconditional, help: "The entry's ID.")
    var entryID = ""

    @Option(
        name: .go("parentID"), parsing: .unconditional, help: "SPIFFE ID of the entry's parent.")
    var parentID = ""

    @Option(name: .go("spiffeID"), parsing: .unconditional, help: "SPIFFE ID the entry gives.")
    var spiffeID = ""

    @Option(
        name: .go("selector"), parsing: .unconditionalSingleValue,
        help: "A selector, type:value; may be repeated.")
    var selectors: [String] = []

    @Option(
        name: .go("x509SVIDTTL"), parsing: .unconditional,
        help: "Life of X509-SVIDs in seconds; 0 for the server's default.")
    var x509SVIDTTL: Int32 = 0

    @Option(
        name: .go("jwtSVIDTTL"), parsing: .unconditional,
        help: "Life of JWT-SVIDs in seconds; 0 for the server's default.")
    var jwtSVIDTTL: Int32 = 0

    @Option(
        name: .go("dns"), parsing: .unconditionalSingleValue,
        help: "A DNS name for X509-SVIDs; may be repeated.")
    var dnsNames: [String] = []

    @Option(
        name: .go("federatesWith"), parsing: .unconditionalSingleValue,
        help: "A trust domain whose bundle goes with the identity; may be repeated.")
    var federatesWith: [String] = []

    @Flag(name: .go("admin"), help: "The identity may use the server's admin APIs.")
    var admin = false

    @Flag(name: .go("downstream"), help: "The identity is a downstream server's.")
    var downstream = false

    @Option(
        name: .go("entryExpiry"), parsing: .unconditional,
        help: "When the entry is removed, in seconds since 1970; 0 for never.")
    var entryExpiry: Int64 = 0

    @Flag(name: .go("storeSVID"), help: "Hand the SVID to an SVIDStore plugin.")
    var storeSVID = false

    @Option(name: .go("hint"), parsing: .unconditional, help: "Tells several identities apart.")
    var hint = ""

    // What an update leaves as it is when it is not given. As `-name` the same as `-name=true`.
    @Option(
        name: .go("disableX509SVIDPrefetch"), parsing: .unconditional,
        help: "Sign X509-SVIDs only when they are asked for.")
    var disableX509SVIDPrefetch: GoBoolean?

    @Option(
        name: .go("jwtSVIDIncludeJTI"), parsing: .unconditional,
        help: "Give each JWT-SVID an ID of its own.")
    var jwtSVIDIncludeJTI: GoBoolean?

    @Option(
        name: .go("revokeOnExit"), parsing: .unconditional,
        help: "Revoke the SVIDs when the last process on a node that has them ends.")
    var revokeOnExit: GoBoolean?

    @Flag(name: .go("noRevokeOnExit"), help: "The same as -revokeOnExit=false.")
    var noRevokeOnExit = false

    @Option(
        name: .go("data"), parsing: .unconditional,
        help: "JSON file with entries, or - for standard input.")
    var data = ""

    /// What the flags, or the file of `-data`, ask for.
    ///
    /// - Parameters:
    ///   - isNode: `-node` was given.
    ///   - needsID: An entry ID is required (for updates).
    func inputs(isNode: Bool, needsID: Bool) throws -> [EntryInput] {
        if !self.data.isEmpty {
            let inputs = try EntryInput.read(try InputFile.document(self.data))
            if needsID, let index = inputs.firstIndex(where: { $0.entry.id.isEmpty }) {
                throw CommandError(
                    "entry \(index + 1) of \(QuotedText.quoted(self.data)) has no entry_id")
            }
            return inputs
        }
        if needsID, self.entryID.isEmpty {
            throw CommandError("entry ID is required", hints: ["find it: cygnet-server entry show"])
        }
        if self.selectors.isEmpty {
            throw CommandError(
                "at least one selector is required", hints: ["add -selector unix:uid:$(id -u)"])
        }
        if self.spiffeID.isEmpty {
            throw CommandError("a SPIFFE ID is required", hints: ["add -spiffeID"])
        }
        if self.parentID.isEmpty, !isNode {
            throw CommandError(
                needsID
                    ? "a parent ID is required"
                    : "a parent ID is required if the node flag is not set",
                hints: ["list nodes that can be parents: cygnet-server agent list"])
        }
        if self.revokeOnExit == .true, self.noRevokeOnExit {
            throw CommandError("-revokeOnExit and -noRevokeOnExit exclude each other")
        }
        if isNode, !self.federatesWith.isEmpty {
            throw CommandError("-node and -federatesWith exclude each other")
        }
        for (flag, value) in [("x509SVIDTTL", self.x509SVIDTTL), ("jwtSVIDTTL", self.jwtSVIDTTL)]
        where value < 0 {
            throw CommandError(
                "-\(flag) \(value) is negative; expected seconds, or 0 for the default")
        }
        return [try self.input(isNode: isNode)]
    }

    private func input(isNode: Bool) throws(CommandError) -> EntryInput {
        let id = try Spire_Api_Types_SPIFFEID.parse(self.spiffeID, flag: "spiffeID")
        var entry = Spire_Api_Types_Entry()
        entry.id = self.entryID
        entry.spiffeID = id
        if isNode {
            entry.parentID.trustDomain = id.trustDomain
            entry.parentID.path = "/spire/server"
        } else {
            entry.parentID = try .parse(self.parentID, flag: "parentID")
        }
        for selector in self.selectors { entry.selectors.append(try .parse(selector)) }
        entry.x509SvidTtl = self.x509SVIDTTL
        entry.jwtSvidTtl = self.jwtSVIDTTL
        entry.federatesWith = self.federatesWith
        entry.admin = self.admin
        entry.downstream = self.downstream
        entry.expiresAt = self.entryExpiry
        entry.dnsNames = self.dnsNames
        entry.storeSvid = self.storeSVID
        entry.hint = self.hint
        return EntryInput(
            entry: entry, disableX509SVIDPrefetch: self.disableX509SVIDPrefetch?.value,
            jwtSVIDIncludeJTI: self.jwtSVIDIncludeJTI?.value,
            revokeOnExit: self.noRevokeOnExit ? false : self.revokeOnExit?.value)
    }
}
