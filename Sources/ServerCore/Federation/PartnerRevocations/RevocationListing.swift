import Crypto
package import SPIFFE

/// What lists of SVIDs that were taken back a trust domain publishes beside its bundle: their names and what they are
/// like now, and nothing of what is in them.
///
/// Itself it proves nothing and needs no proof: each list is signed, and whoever withholds one is found out when the last
/// one ends. It is there so that a partner asks one question, waits for one answer, and fetches what has changed.
///
/// JSON: `trust_domain`; `crls`, each with `authority_key_id` (lower-case hex), `sha256` (base64url) and `next_update`
/// (Unix seconds); `status_list` with `uri`, `sha256` and `next_update`, where there is one. Further members are for later
/// versions and are not read.
package struct RevocationListing: Sendable, Hashable {
    /// A CRL that there is.
    package struct CRL: Sendable, Hashable {
        /// Subject key identifier of the X.509 authority, in lower-case hex.
        package let authorityID: String
        /// Of its bytes, DER; 32 bytes.
        package let sha256: [UInt8]
    }

    /// The status list that there is.
    package struct StatusList: Sendable, Hashable {
        /// The list's name in tokens, and its `sub`.
        package let uri: String
        /// Of the token's bytes; 32 bytes.
        package let sha256: [UInt8]
    }

    /// `application/vnd.cygnet.revocations+json`: nobody else's document is taken for one.
    package static let mediaType = "application/vnd.cygnet.revocations+json"
    /// Where it is, beside the bundle.
    package static let name = "revocations"
    /// Where the status list is, beside the bundle.
    package static let statusListName = "statuslist"
    /// The most bytes of one that is read.
    package static let maximumBytes = 256 * 1024
    /// The most CRLs that one may name; as many as a bundle may have authorities.
    package static let maximumCRLs = ForeignBundle.maximumAuthorities
    /// The longest authority ID, in characters: a key identifier of 64 bytes.
    private static let maximumIDLength = 128

    /// Whose lists they are.
    package let trustDomain: TrustDomain
    /// At most ``maximumCRLs``, one for each authority.
    package let crls: [CRL]
    /// Nil where there is none.
    package let statusList: StatusList?

    /// Where the CRL of an authority is, beside the bundle.
    package static func crlName(_ authorityID: String) -> String { "crl/\(authorityID).crl" }

    // MARK: Writing

    /// The bytes of the listing of these lists, the same for the same lists; nil when there is none to name.
    ///
    /// - Parameter statusListURI: The name of the status list; without it the status list is left out.
    package static func document(
        of lists: RevocationLists, trustDomain: TrustDomain, statusListURI: String?
    ) -> [UInt8]? {
        var members: [String: JSONValue] = ["trust_domain": .string(trustDomain.name)]
        members["crls"] = .array(
            lists.crls.sorted { $0.key < $1.key }.map { id, list in
                .object(["authority_key_id": .string(id)].merging(self.members(list)) { $1 })
            })
        var isEmpty = lists.crls.isEmpty
        if let uri = statusListURI, let list = lists.statusList {
            members["status_list"] = .object(
                ["uri": .string(uri)].merging(self.members(list)) { $1 })
            isEmpty = false
        }
        return isEmpty ? nil : JSONValue.object(members).serialized()
    }

    private static func members(_ list: SignedList) -> [String: JSONValue] {
        [
            "sha256": .string(Base64URL.encode(self.digest(list.bytes))),
            "next_update": .int(list.expiresAt),
        ]
    }

    /// The SHA-256 by which a listing names a list.
    package static func digest(_ bytes: [UInt8]) -> [UInt8] { Array(SHA256.hash(data: bytes)) }

    // MARK: Reading

    /// Reads a partner's listing.
    ///
    /// - Parameter expected: The partner.
    /// - Throws: ``ServerError`` `invalidArgument`.
    package init(_ bytes: [UInt8], of expected: TrustDomain) throws(ServerError) {
        guard bytes.count <= Self.maximumBytes else {
            throw Self.refused("it has \(bytes.count) bytes; at most \(Self.maximumBytes) are read")
        }
        let value: JSONValue
        do throws(JOSEError) {
            value = try JSONValue(parsing: bytes)
        } catch {
            throw Self.refused(error.message)
        }
        guard let name = value["trust_domain"]?.stringValue else {
            throw Self.refused("it names no trust_domain")
        }
        guard name.utf8.elementsEqual(expected.name.utf8) else {
            throw Self.refused("it is of trust domain \(quoted(name)); expected \(expected)")
        }
        self.trustDomain = expected
        let listed = value["crls"]?.arrayValue ?? []
        guard listed.count <= Self.maximumCRLs else {
            throw Self.refused(
                "it names \(listed.count) CRLs; at most \(Self.maximumCRLs) are read")
        }
        var crls: [CRL] = []
        var seen: Set<String> = []
        for item in listed {
            guard let id = item["authority_key_id"]?.stringValue, Self.isAuthorityID(id),
                let digest = Self.digest(item["sha256"])
            else {
                throw Self.refused(
                    "a CRL has no authority_key_id in lower-case hex, or no sha256 of 32 bytes in base64url"
                )
            }
            guard seen.insert(id).inserted else {
                throw Self.refused("authority \(id) is named twice")
            }
            crls.append(CRL(authorityID: id, sha256: digest))
        }
        self.crls = crls
        guard let item = value["status_list"] else {
            self.statusList = nil
            return
        }
        guard let uri = item["uri"]?.stringValue, (1...2_048).contains(uri.utf8.count),
            let digest = Self.digest(item["sha256"])
        else {
            throw Self.refused("status_list has no uri, or no sha256 of 32 bytes in base64url")
        }
        self.statusList = StatusList(uri: uri, sha256: digest)
    }

    /// Lower-case hex of whole bytes: nothing else gets into the path of a request.
    static func isAuthorityID(_ text: String) -> Bool {
        let digits = text.utf8
        return !digits.isEmpty && digits.count % 2 == 0 && digits.count <= Self.maximumIDLength
            && digits.allSatisfy {
                (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
                    || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains($0)
            }
    }

    private static func digest(_ value: JSONValue?) -> [UInt8]? {
        guard let text = value?.stringValue, text.utf8.count == 43,
            let bytes = try? Base64URL.decode(text), bytes.count == 32
        else { return nil }
        return bytes
    }

    private static func refused(_ reason: String) -> ServerError {
        ServerError(.invalidArgument, "listing of revocations rejected: \(reason)")
    }
}
