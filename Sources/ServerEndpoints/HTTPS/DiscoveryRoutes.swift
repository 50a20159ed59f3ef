import NIOConcurrencyHelpers
package import ServerCore
package import ServiceRuntime

/// The two documents of OpenID Connect discovery, as answers.
///
/// The document depends on the host that was asked for and is checked against the site's domains; the keys are the
/// same for everybody and are made once per change.
package final class DiscoveryRoutes: Sendable {
    private struct State {
        var version: UInt64?
        var keys: DocumentResponse?
    }

    private let site: DiscoverySite
    private let source: any DiscoveryKeySource
    private let isEncrypted: Bool
    private let state = NIOLockedValueBox(State())

    /// - Parameter isEncrypted: Whether the listener has TLS.
    package init(_ site: DiscoverySite, keys source: any DiscoveryKeySource, isEncrypted: Bool) {
        self.site = site
        self.source = source
        self.isEncrypted = isEncrypted
    }

    /// The answer to a request; nil for other paths.
    package func response(to request: DocumentRequest) -> DocumentResponse? {
        switch request.path {
        case self.site.documentPath: self.document(request)
        case self.site.keysPath: self.keys
        default: nil
        }
    }

    private func document(_ request: DocumentRequest) -> DocumentResponse {
        // A proxy that passes requests on tells whom they were for. The value decides nothing but which of the
        // listed domains is meant.
        guard let host = request.forwardedHost ?? request.host,
            let document = self.site.document(
                host: host,
                isEncrypted: self.isEncrypted || request.forwardedScheme == "https")
        else {
            return .refusal(400, "this domain is not served here")
        }
        return DocumentResponse(
            contentType: "application/json", body: document.bytes, entityTag: document.entityTag,
            fields: [("vary", "X-Forwarded-Host, X-Forwarded-Proto")])
    }

    private var keys: DocumentResponse {
        guard let version = self.source.version else { return Self.unavailable }
        return self.state.withLockedValue { state in
            if state.version == version, let keys = state.keys { return keys }
            guard let bundle = self.source.keys() else { return Self.unavailable }
            let document = DiscoveryKeySet(bundle, setsKeyUse: self.site.setsKeyUse)
            let keys = DocumentResponse(
                contentType: "application/json", body: document.bytes,
                entityTag: document.entityTag)
            state = State(version: version, keys: keys)
            return keys
        }
    }

    private static let unavailable = DocumentResponse.refusal(503, "there are no keys yet")
}
