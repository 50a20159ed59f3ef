package import Foundation
package import PluginAPI
package import SPIFFE
import SPIFFEHTTP

/// Publishes the bundle as an object in an S3 bucket, or in one of a store that speaks S3.
package struct AWSS3BundlePublisher: BundlePublisher {
    /// The keys of `BundlePublisher "aws_s3"`.
    package struct Settings: Sendable, Hashable {
        package var region: String
        package var bucket: String
        package var objectKey: String
        package var format: BundleFormat
        /// Empty: from the environment, `AWS_ACCESS_KEY_ID` and its kin.
        package var accessKeyID = ""
        package var secretAccessKey = ""
        /// The `https` URL of another store that speaks S3; nil for AWS.
        package var endpoint: String?
        package var refreshHint: Duration?

        package init(region: String, bucket: String, objectKey: String, format: BundleFormat) {
            self.region = region
            self.bucket = bucket
            self.objectKey = objectKey
            self.format = format
        }
    }

    package let name = "aws_s3"
    package let destination: String
    private let settings: Settings
    private let url: String
    private let environment: @Sendable () -> [String: String]
    private let now: @Sendable () -> Date

    /// - Parameter environment: Read at each publication, since credentials in it may change.
    /// - Throws: ``BundlePublisherError`` `configuration` for an endpoint that is no `https` URL.
    package init(
        _ settings: Settings,
        environment: @escaping @Sendable () -> [String: String] = {
            ProcessInfo.processInfo.environment
        },
        now: @escaping @Sendable () -> Date = { Date() }
    ) throws(BundlePublisherError) {
        self.settings = settings
        self.environment = environment
        self.now = now
        self.destination = "s3://\(settings.bucket)/\(settings.objectKey)"
        self.url = Self.url(settings)
        do throws(SPIFFEHTTPError) {
            _ = try WebHTTPSClient.hostHeader(of: self.url)
        } catch {
            throw BundlePublisherError(.configuration, error.message)
        }
    }

    package func publish(_ bundle: SPIFFEBundle) async throws {
        let body = try self.settings.format.document(
            bundle, refreshHint: self.settings.refreshHint)
        let environment = self.environment()
        let request = try self.request(body, try self.credentials(environment))
        let client = WebHTTPSClient(try Self.authorities(environment))
        let response: WebHTTPSClient.Response
        do {
            response = try await client.send(request)
        } catch let error as SPIFFEHTTPError {
            throw BundlePublisherError(.unreachable, error.message)
        }
        guard response.status == 200 else {
            throw BundlePublisherError(.refused, Self.refusal(response.status, response.body))
        }
    }

    /// The signed request that puts the object.
    func request(
        _ body: [UInt8], _ credentials: SignatureV4.Credentials
    ) throws(BundlePublisherError) -> WebHTTPSClient.Request {
        let digest = SignatureV4.sha256Hex(body)
        let timestamp = SignatureV4.timestamp(self.now())
        var headers: [(name: String, value: String)] = [
            ("content-type", self.settings.format.mediaType),
            ("x-amz-content-sha256", digest), ("x-amz-date", timestamp),
        ]
        if let token = credentials.sessionToken { headers.append(("x-amz-security-token", token)) }
        let host: String
        do throws(SPIFFEHTTPError) {
            host = try WebHTTPSClient.hostHeader(of: self.url)
        } catch {
            throw BundlePublisherError(.configuration, error.message)
        }
        let signer = SignatureV4(
            credentials: credentials, region: self.settings.region, service: "s3")
        let authorization = signer.authorization(
            method: "PUT", path: Self.path(of: self.url), headers: headers + [("host", host)],
            payloadSHA256: digest, timestamp: timestamp)
        headers.append(("authorization", authorization))
        return WebHTTPSClient.Request("PUT", url: self.url, headers: headers, body: body)
    }

    /// The object's URL: the bucket stands in the host name, but in the path with another endpoint and where a
    /// dot in its name would not fit the store's wildcard certificate.
    static func url(_ settings: Settings) -> String {
        let key = SignatureV4.encodedPath(settings.objectKey)
        if let endpoint = settings.endpoint {
            var base = endpoint[...]
            while base.hasSuffix("/") { base = base.dropLast() }
            return "\(base)/\(SignatureV4.encodedPath(settings.bucket))/\(key)"
        }
        let domain =
            settings.region.hasPrefix("cn-") ? "amazonaws.com.cn" : "amazonaws.com"
        let host = "s3.\(settings.region).\(domain)"
        if settings.bucket.contains(".") {
            return "https://\(host)/\(SignatureV4.encodedPath(settings.bucket))/\(key)"
        }
        return "https://\(settings.bucket).\(host)/\(key)"
    }

    private static func path(of url: String) -> String {
        guard let scheme = url.firstRange(of: "://"),
            let slash = url[scheme.upperBound...].firstIndex(of: "/")
        else { return "/" }
        return String(url[slash...])
    }

    private func credentials(
        _ environment: [String: String]
    ) throws(BundlePublisherError) -> SignatureV4.Credentials {
        if !self.settings.accessKeyID.isEmpty {
            return SignatureV4.Credentials(
                accessKeyID: self.settings.accessKeyID,
                secretAccessKey: self.settings.secretAccessKey)
        }
        guard let id = environment["AWS_ACCESS_KEY_ID"], !id.isEmpty,
            let secret = environment["AWS_SECRET_ACCESS_KEY"], !secret.isEmpty
        else {
            throw BundlePublisherError(
                .configuration,
                "no credentials for \(self.destination); set access_key_id and secret_access_key, or "
                    + "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment")
        }
        let token = environment["AWS_SESSION_TOKEN"].flatMap { $0.isEmpty ? nil : $0 }
        return SignatureV4.Credentials(
            accessKeyID: id, secretAccessKey: secret, sessionToken: token)
    }

    /// `AWS_CA_BUNDLE`, as AWS's own programs understand it, else the machine's authorities.
    private static func authorities(
        _ environment: [String: String]
    ) throws(BundlePublisherError) -> WebHTTPSClient.ServerAuthentication {
        guard let path = environment["AWS_CA_BUNDLE"], !path.isEmpty else {
            return .machineAuthorities
        }
        return .authorities(pem: try PublisherFile.read(path, "AWS_CA_BUNDLE"))
    }

    /// What the store said: its code and message, cut and quoted.
    static func refusal(_ status: Int, _ body: [UInt8]) -> String {
        let text = String(decoding: body.prefix(4096), as: UTF8.self)
        func element(_ name: String) -> String? {
            guard let start = text.firstRange(of: "<\(name)>"),
                let end = text[start.upperBound...].firstRange(of: "</\(name)>")
            else { return nil }
            return PublisherText.quoted(String(text[start.upperBound..<end.lowerBound]))
        }
        let details = [element("Code"), element("Message")].compactMap { $0 }
            .joined(separator: " ")
        return "store answered with status \(status)" + (details.isEmpty ? "" : ": \(details)")
    }
}
