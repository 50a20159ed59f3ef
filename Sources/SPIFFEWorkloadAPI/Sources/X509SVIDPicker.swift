public import SPIFFE

/// Which of its identities a program presents when it has several.
public struct X509SVIDPicker: Sendable {
    private let pick: @Sendable ([X509SVID]) -> X509SVID?
    private let wish: String

    /// Asks a closure at each update.
    ///
    /// - Parameter pick: Gets the SVIDs in the server's order, at least one; nil means that none fits,
    ///   then the program has no identity. Must not block.
    public init(_ pick: @escaping @Sendable ([X509SVID]) -> X509SVID?) {
        self.init(wish: "one that the program's picker takes", pick)
    }

    private init(wish: String, _ pick: @escaping @Sendable ([X509SVID]) -> X509SVID?) {
        self.wish = wish
        self.pick = pick
    }

    /// The default identity: the first in the server's order.
    public static let first = X509SVIDPicker(wish: "the first one") { $0.first }

    /// The identity that the operator gave this hint; none when there is no such hint.
    public static func hint(_ hint: String) -> X509SVIDPicker {
        X509SVIDPicker(wish: "one with hint \(WorkloadAPIError.quoted(hint))") { svids in
            svids.first { $0.hint.utf8.elementsEqual(hint.utf8) }
        }
    }

    /// Exactly this identity.
    public static func id(_ id: SPIFFEID) -> X509SVIDPicker {
        X509SVIDPicker(wish: id.string) { svids in svids.first { $0.id == id } }
    }

    /// The one to present.
    ///
    /// - Throws: ``WorkloadAPIError`` `noMatchingSVID`.
    package func callAsFunction(_ svids: [X509SVID]) throws(WorkloadAPIError) -> X509SVID {
        if let svid = self.pick(svids) { return svid }
        let present = svids.map { "\($0.id) with hint \(WorkloadAPIError.quoted($0.hint))" }
        throw WorkloadAPIError(
            .noMatchingSVID,
            "no X509-SVID fits: wanted is \(self.wish), the Workload API gave "
                + (present.isEmpty ? "none" : present.joined(separator: ", ")))
    }
}
