import Foundation
import Testing

@testable import Plugins

/// AWS's published examples; the signatures were computed again in Python.
@Suite struct SignatureV4Tests {
    private static let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    private static let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

    private func signer(
        region: String = "us-east-1", service: String = "s3", secret: String = Self.secret
    ) -> SignatureV4 {
        SignatureV4(
            credentials: .init(accessKeyID: "AKIAIOSFODNN7EXAMPLE", secretAccessKey: secret),
            region: region, service: service)
    }

    @Test func signsThePutObjectExample() {
        let digest = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"
        #expect(SignatureV4.sha256Hex(Array("Welcome to Amazon S3.".utf8)) == digest)
        let value = self.signer().authorization(
            method: "PUT", path: "/test%24file.text",
            headers: [
                ("X-Amz-Storage-Class", "REDUCED_REDUNDANCY"),
                ("Date", "Fri, 24 May 2013 00:00:00 GMT"),
                ("Host", "examplebucket.s3.amazonaws.com"), ("x-amz-date", "20130524T000000Z"),
                ("x-amz-content-sha256", digest),
            ], payloadSHA256: digest, timestamp: "20130524T000000Z")
        #expect(
            value
                == "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
                + "SignedHeaders=date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class, "
                + "Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd")
    }

    @Test func signsTheGetObjectExample() {
        let value = self.signer().authorization(
            method: "GET", path: "/test.txt",
            headers: [
                ("host", "examplebucket.s3.amazonaws.com"), ("range", "bytes=0-9"),
                ("x-amz-content-sha256", Self.empty), ("x-amz-date", "20130524T000000Z"),
            ], payloadSHA256: Self.empty, timestamp: "20130524T000000Z")
        #expect(
            value.hasSuffix(
                "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"))
    }

    @Test func signsTheVanillaRequestOfTheTestSuite() {
        let signer = self.signer(
            service: "service", secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
        let value = signer.authorization(
            method: "GET", path: "/",
            headers: [("Host", "example.amazonaws.com"), ("X-Amz-Date", "20150830T123600Z")],
            payloadSHA256: Self.empty, timestamp: "20150830T123600Z")
        #expect(
            value.hasSuffix(
                "Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"))
    }

    @Test func writesTimesInUTC() {
        let date = Date(timeIntervalSince1970: 1_369_353_600.9)
        #expect(SignatureV4.timestamp(date) == "20130524T000000Z")
        #expect(SignatureV4.timestamp(Date(timeIntervalSince1970: 0)) == "19700101T000000Z")
    }

    @Test func encodesPathsOnceAndKeepsSlashes() {
        #expect(
            SignatureV4.encodedPath("a b/ü$~_-.+%/x") == "a%20b/%C3%BC%24~_-.%2B%25/x")
        #expect(SignatureV4.encodedPath("\n") == "%0A")
    }
}
