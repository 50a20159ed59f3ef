import Foundation
import PluginAPI
import SPIFFE
import SPIFFEHTTP
import SPIFFETesting
import Testing

@testable import Plugins

@Suite struct AWSS3BundlePublisherTests {
    private func settings(
        bucket: String = "bundles", key: String = "a/my bundle.json", endpoint: String? = nil
    ) -> AWSS3BundlePublisher.Settings {
        var settings = AWSS3BundlePublisher.Settings(
            region: "eu-west-1", bucket: bucket, objectKey: key, format: .spiffe)
        settings.endpoint = endpoint
        return settings
    }

    @Test func findsTheObject() {
        #expect(
            AWSS3BundlePublisher.url(self.settings())
                == "https://bundles.s3.eu-west-1.amazonaws.com/a/my%20bundle.json")
        #expect(
            AWSS3BundlePublisher.url(self.settings(bucket: "b.example.org", key: "k"))
                == "https://s3.eu-west-1.amazonaws.com/b.example.org/k")
        #expect(
            AWSS3BundlePublisher.url(
                self.settings(key: "k", endpoint: "https://store.test:9000//"))
                == "https://store.test:9000/bundles/k")
        var china = self.settings(key: "k")
        china.region = "cn-north-1"
        #expect(
            AWSS3BundlePublisher.url(china) == "https://bundles.s3.cn-north-1.amazonaws.com.cn/k")
    }

    @Test(arguments: ["http://store.test", "store.test", "https://", "https://user@store.test"])
    func refusesOtherEndpoints(endpoint: String) {
        #expect {
            _ = try AWSS3BundlePublisher(self.settings(endpoint: endpoint))
        } throws: { error in
            (error as? BundlePublisherError)?.code == .configuration
        }
    }

    @Test func signsWhatItSends() throws {
        let publisher = try AWSS3BundlePublisher(
            self.settings(key: "k"), now: { Date(timeIntervalSince1970: 1_369_353_600) })
        let request = try publisher.request(
            Array("{}".utf8),
            .init(accessKeyID: "AKID", secretAccessKey: "secret", sessionToken: "session"))
        let headers = Dictionary(
            request.headers.map { ($0.name, $0.value) }, uniquingKeysWith: { first, _ in first })
        #expect(request.method == "PUT" && request.body == Array("{}".utf8))
        #expect(headers["x-amz-date"] == "20130524T000000Z")
        #expect(headers["x-amz-security-token"] == "session")
        #expect(headers["content-type"] == "application/json")
        let authorization = try #require(headers["authorization"])
        #expect(
            authorization.contains(
                "SignedHeaders=content-type;host;x-amz-content-sha256;x-amz-date;x-amz-security-token,"
            ))
        #expect(
            authorization.hasSuffix(
                "Signature=bf53d9625c81483554a2a98fb45b74cda3a02eec74c80e51ada87eec5d6d5cf5"))
    }

    @Test func saysWhichCredentialsAreMissing() async throws {
        let publisher = try AWSS3BundlePublisher(self.settings(), environment: { [:] })
        let bundle = try TestAuthority("example.org").bundle
        await #expect {
            try await publisher.publish(bundle)
        } throws: { error in
            let error = error as? BundlePublisherError
            return error?.code == .configuration
                && error?.message.contains("AWS_SECRET_ACCESS_KEY") == true
        }
    }

    @Test func quotesWhatTheStoreSays() {
        let body = "<Error><Code>NoSuchBucket</Code><Message>no\n such</Message></Error>"
        #expect(
            AWSS3BundlePublisher.refusal(404, Array(body.utf8))
                == "store answered with status 404: \"NoSuchBucket\" \"no? such\"")
        #expect(AWSS3BundlePublisher.refusal(500, []) == "store answered with status 500")
        #expect(
            AWSS3BundlePublisher.refusal(500, Array("</Code><Code>".utf8))
                == "store answered with status 500")
    }
}
