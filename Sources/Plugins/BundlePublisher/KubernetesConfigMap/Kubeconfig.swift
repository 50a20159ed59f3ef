import PluginAPI
import SPIFFE
import SPIFFEHTTP

/// How to reach one Kubernetes API server and who to be there.
struct KubernetesAccess: Sendable, Equatable {
    /// `https://host:port`, without a slash at the end.
    let server: String
    let authentication: WebHTTPSClient.ServerAuthentication
    let certificate: WebHTTPSClient.ClientCertificate?
    let bearerToken: String?
}

/// Where access to a cluster comes from.
///
/// Read anew at each publication, so that renewed tokens and certificates count.
enum Kubeconfig {
    /// Where a pod finds its service account.
    static let serviceAccountFolder = "/var/run/secrets/kubernetes.io/serviceaccount"

    /// Access of the pod that the server runs in.
    ///
    /// - Throws: ``BundlePublisherError`` `configuration` outside a cluster.
    static func inCluster(
        environment: [String: String], folder: String = Kubeconfig.serviceAccountFolder
    ) throws(BundlePublisherError) -> KubernetesAccess {
        guard let host = environment["KUBERNETES_SERVICE_HOST"], !host.isEmpty,
            let port = environment["KUBERNETES_SERVICE_PORT"], !port.isEmpty
        else {
            throw BundlePublisherError(
                .configuration,
                "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set, so this is no pod; set "
                    + "kubeconfig_path")
        }
        return KubernetesAccess(
            server: "https://\(host.contains(":") ? "[\(host)]" : host):\(port)",
            authentication: .authorities(
                pem: try PublisherFile.read("\(folder)/ca.crt", "the cluster's authority")),
            certificate: nil,
            bearerToken: try self.token(
                PublisherFile.read("\(folder)/token", "the service account's token")))
    }

    /// Access by the current context of a kubeconfig.
    ///
    /// - Throws: ``BundlePublisherError`` `configuration`.
    static func read(_ path: String) throws(BundlePublisherError) -> KubernetesAccess {
        let bytes = try PublisherFile.read(path, "kubeconfig")
        let slash = path.lastIndex(of: "/")
        let folder = slash.map { String(path[..<$0]) } ?? "."
        do throws(BundlePublisherError) {
            return try self.access(String(decoding: bytes, as: UTF8.self), folder: folder)
        } catch {
            throw BundlePublisherError(
                error.code, "kubeconfig \(PublisherText.quoted(path)): \(error.message)")
        }
    }

    /// - Parameter folder: What relative paths in the text are relative to.
    static func access(
        _ text: String, folder: String
    ) throws(BundlePublisherError) -> KubernetesAccess {
        let document = try self.document(text)
        guard let current = document["current-context"]?.text, !current.isEmpty else {
            throw self.refused("it has no current-context")
        }
        let context = try self.named(current, "contexts", "context", document)
        let cluster = try self.named(
            context["cluster"]?.text ?? "", "clusters", "cluster", document)
        let user = try self.named(context["user"]?.text ?? "", "users", "user", document)
        return try self.access(cluster, user, folder)
    }

    private static func access(
        _ cluster: KubeconfigYAML, _ user: KubeconfigYAML, _ folder: String
    ) throws(BundlePublisherError) -> KubernetesAccess {
        guard var server = cluster["server"]?.text, server.lowercased().hasPrefix("https://") else {
            throw self.refused("the cluster's server is no https URL")
        }
        while server.hasSuffix("/") { server.removeLast() }
        if let text = cluster["insecure-skip-tls-verify"]?.text, text != "false" {
            throw self.refused(
                "insecure-skip-tls-verify is not supported: anybody could take the token; set "
                    + "certificate-authority")
        }
        for key in ["proxy-url", "tls-server-name"] where cluster[key] != nil {
            throw self.refused("\(key) is not supported")
        }
        for key in ["exec", "auth-provider", "username", "as"] where user[key] != nil {
            throw self.refused(
                "\(key) is not supported; use token, tokenFile or a client certificate")
        }
        let authority = try self.file("certificate-authority", of: cluster, folder)
        let chain = try self.file("client-certificate", of: user, folder)
        let key = try self.file("client-key", of: user, folder)
        guard (chain == nil) == (key == nil) else {
            throw self.refused("client-certificate and client-key go together")
        }
        var token = user["token"]?.text.flatMap { $0.isEmpty ? nil : $0 }
        if let file = user["tokenFile"]?.text, !file.isEmpty {
            token = try self.token(PublisherFile.read(self.absolute(file, folder), "tokenFile"))
        } else if let written = token {
            token = try self.token(Array(written.utf8))
        }
        guard token != nil || chain != nil else {
            throw self.refused("the user has neither a token nor a client certificate")
        }
        var certificate: WebHTTPSClient.ClientCertificate?
        if let chain, let key { certificate = .init(chainPEM: chain, keyPEM: key) }
        return KubernetesAccess(
            server: server,
            authentication: authority.map { .authorities(pem: $0) } ?? .machineAuthorities,
            certificate: certificate, bearerToken: token)
    }

    private static func document(_ text: String) throws(BundlePublisherError) -> KubeconfigYAML {
        // Braces: JSON, which the block parser leaves to the one that knows it.
        if text.drop(while: \.isWhitespace).first == "{" {
            do throws(JOSEError) {
                return KubeconfigYAML(try JSONValue(parsing: text))
            } catch {
                throw self.refused(error.message)
            }
        }
        do throws(KubeconfigYAML.Failure) {
            return try KubeconfigYAML.parse(text)
        } catch {
            throw self.refused("line \(error.line): \(error.reason)")
        }
    }

    /// The member `kind` of the element of that name in one of the three lists.
    private static func named(
        _ name: String, _ list: String, _ kind: String, _ document: KubeconfigYAML
    ) throws(BundlePublisherError) -> KubeconfigYAML {
        let found = document[list]?.elements.first { $0["name"]?.text == name }
        guard !name.isEmpty, let value = found?[kind] else {
            throw self.refused("it has no \(kind) named \(PublisherText.quoted(name))")
        }
        return value
    }

    /// The bytes that `<key>-data` holds in base64, or that the file `<key>` has.
    private static func file(
        _ key: String, of values: KubeconfigYAML, _ folder: String
    ) throws(BundlePublisherError) -> [UInt8]? {
        if let data = values["\(key)-data"]?.text, !data.isEmpty {
            do throws(JOSEError) {
                return try Base64.decode(data)
            } catch {
                throw self.refused("\(key)-data is no base64")
            }
        }
        guard let path = values[key]?.text, !path.isEmpty else { return nil }
        return try PublisherFile.read(self.absolute(path, folder), key)
    }

    private static func absolute(_ path: String, _ folder: String) -> String {
        path.hasPrefix("/") ? path : "\(folder)/\(path)"
    }

    /// A token that fits into a header.
    private static func token(_ bytes: [UInt8]) throws(BundlePublisherError) -> String {
        var token = String(decoding: bytes, as: UTF8.self)[...]
        while token.first?.isWhitespace == true { token.removeFirst() }
        while token.last?.isWhitespace == true { token.removeLast() }
        guard !token.isEmpty, token.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw self.refused("the token is empty or has characters that no token has")
        }
        return String(token)
    }

    private static func refused(_ reason: String) -> BundlePublisherError {
        BundlePublisherError(.configuration, reason)
    }
}

extension KubeconfigYAML {
    /// JSON as the same tree; numbers and booleans as text.
    init(_ value: JSONValue) {
        switch value {
        case .object(let members): self = .mapping(members.mapValues(KubeconfigYAML.init))
        case .array(let elements): self = .sequence(elements.map(KubeconfigYAML.init))
        case .string(let text): self = .scalar(text)
        case .bool(let flag): self = .scalar(flag ? "true" : "false")
        case .int(let number): self = .scalar(String(number))
        case .uint(let number): self = .scalar(String(number))
        case .double(let number): self = .scalar(String(number))
        case .null: self = .scalar("")
        }
    }
}
