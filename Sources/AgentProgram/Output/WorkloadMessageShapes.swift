import ServiceRuntime
import SwiftProtobuf
import WorkloadAPIProto

/// A message that commands print with `-output json`.
protocol ShapedMessage: SwiftProtobuf.Message {
    /// Its fields, with what their zero values look like.
    static var shape: MessageShape { get }
}

extension ShapedMessage {
    /// The message on one line of JSON.
    func jsonLine() throws -> String {
        var options = JSONEncodingOptions()
        options.preserveProtoFieldNames = true
        return try Self.shape.complete(json: Array(try self.jsonString(options: options).utf8))
    }
}

extension X509SVIDResponse: ShapedMessage {
    static let shape = MessageShape([
        "svids": .messages(
            MessageShape([
                "spiffe_id": .text, "x509_svid": .text, "x509_svid_key": .text, "bundle": .text,
                "hint": .text,
            ])),
        "crl": .list, "federated_bundles": .map,
    ])
}

extension JWTSVIDResponse: ShapedMessage {
    static let shape = MessageShape([
        "svids": .messages(MessageShape(["spiffe_id": .text, "svid": .text, "hint": .text]))
    ])
}

extension JWTBundlesResponse: ShapedMessage {
    static let shape = MessageShape(["bundles": .map])
}

extension ValidateJWTSVIDResponse: ShapedMessage {
    static let shape = MessageShape(["spiffe_id": .text, "claims": .message(.empty)])
}
