"""Run by the clients' own Python (see `clients.py`): AWS's SDK, unchanged, drives whatever EC2_URL names through the
life of a machine, and prints what it saw as JSON."""

import json
import os
import time

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

config = Config(retries={"max_attempts": 0})
ec2 = boto3.client("ec2", endpoint_url=os.environ["EC2_URL"], region_name="us-east-1", config=config)
seen = {}
types = ec2.get_paginator("describe_instance_types").paginate(
    Filters=[{"Name": "instance-type", "Values": ["p5*"]}]
)
seen["types"] = [t["InstanceType"] for page in types for t in page["InstanceTypes"]]
history = ec2.describe_spot_price_history(InstanceTypes=["g5.xlarge"], ProductDescriptions=["Linux/UNIX"])
seen["spot"] = sorted({p["AvailabilityZone"] for p in history["SpotPriceHistory"]})
ssm = boto3.client("ssm", endpoint_url=os.environ["EC2_URL"], region_name="us-east-1", config=config)
name = "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id"
image = ssm.get_parameter(Name=name)["Parameter"]["Value"]
group = ec2.create_security_group(
    GroupName="mine",
    Description="mine",
    TagSpecifications=[{"ResourceType": "security-group", "Tags": [{"Key": "a", "Value": "b"}]}],
)["GroupId"]
ec2.authorize_security_group_ingress(
    GroupId=group,
    IpPermissions=[
        {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}
    ],
)
launch = {
    "ImageId": image, "InstanceType": "g5.xlarge", "MinCount": 1, "MaxCount": 1, "ClientToken": "once", "SecurityGroupIds": [group],
    "InstanceInitiatedShutdownBehavior": "terminate",
    "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "by-the-sdk"}]}],
}  # fmt: skip
ids = [ec2.run_instances(**launch)["Instances"][0]["InstanceId"] for _ in range(2)]
seen["once"] = len(set(ids)) == 1
ec2.get_waiter("instance_running").wait(InstanceIds=ids[:1], WaiterConfig={"Delay": 1, "MaxAttempts": 20})
pages = ec2.get_paginator("describe_instances").paginate(PaginationConfig={"PageSize": 5})
found = {i["InstanceId"]: i for page in pages for r in page["Reservations"] for i in r["Instances"]}
seen["name"] = {t["Key"]: t["Value"] for t in found[ids[0]]["Tags"]}["Name"]
ec2.stop_instances(InstanceIds=ids[:1])
time.sleep(0.2)
seen["stopped"] = ec2.describe_instances(InstanceIds=ids[:1])["Reservations"][0]["Instances"][0]["State"][
    "Name"
]
ec2.terminate_instances(InstanceIds=ids[:1])
ec2.get_waiter("instance_terminated").wait(InstanceIds=ids[:1], WaiterConfig={"Delay": 1, "MaxAttempts": 20})
try:
    ec2.describe_instances(InstanceIds=["i-00000000000000000"])
except ClientError as error:
    seen["unknown"] = error.response["Error"]["Code"]
pricing = boto3.client("pricing", endpoint_url=os.environ["EC2_URL"], region_name="us-east-1", config=config)
wanted = [{"Type": "TERM_MATCH", "Field": "instanceType", "Value": "g5.xlarge"}]
seen["prices"] = len(pricing.get_products(ServiceCode="AmazonEC2", Filters=wanted)["PriceList"])
print(json.dumps(seen))
